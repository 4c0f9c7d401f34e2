import itertools
import re

import job
import numpy as np
import pytest
import torch
from tiny import tiny_images, tiny_model

from mae_lib.data.protocols import view_seeds
from mae_lib.training.distributed import World
from mae_lib.training.pretrain import own_masks
from mae_lib.training.stream import Steps, batch_index, floats, mask_generator, stream


def steps(images=None, rows: slice = slice(0, 8)) -> Steps:
    return Steps(images or tiny_images(), 8, 3, own_masks(tiny_model()), rows)


def same(one, other) -> bool:
    return torch.equal(one[0], other[0]) and all(map(torch.equal, one[1], other[1]))


class Bytes(job.Views):
    """The same views, as bytes."""

    def view_pixels(self, index, seeds):
        return self.pixels(index, seeds)


class Shards:
    """A stand-in for a set that is read from front to back."""

    def __init__(self, images):
        self.images, self.size, self.asked = images, images.size, []

    def parts(self, batch, seed, *, start=0, rank=0, world=1, workers=0):
        self.asked.append((batch, seed, start, rank, world, workers))
        for step in itertools.count(start):
            index = (step * batch + np.arange(batch)) % len(self.images)
            yield self.images.batch(index), self.images.labels[index]


class Broken(job.Views):
    def views(self, index, seeds):
        raise ValueError("a.jpg is cut short")


def test_a_step_is_its_images_and_masks():
    images, model = tiny_images(), tiny_model()
    found, mask = steps(images)[7]
    assert torch.equal(found, images.batch(batch_index(40, 8, 3, 7)))
    assert all(map(torch.equal, mask, model.sample_mask(8, mask_generator(3, 7))))


@pytest.mark.parametrize("images", [tiny_images(), job.Views(tiny_images())])
def test_parts_put_together_are_the_global_batch(images):
    pictures, masks = steps(images)[5]
    parts = [steps(images, World(rank, 4).split(8)[0])[5] for rank in range(4)]
    assert torch.equal(torch.cat([part[0] for part in parts]), pictures)
    assert torch.equal(torch.cat([part[1].hidden for part in parts]), masks.hidden)
    assert {len(part[0]) for part in parts} == {2}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_starts_at_any_step_and_ends_in_time(workers):
    source = steps(job.Views(tiny_images()))
    found = list(stream(source, 4, 9, workers=workers))
    assert len(found) == 5 and all(same(a, source[i]) for i, a in enumerate(found, 4))


def test_every_image_has_a_view_of_its_own_each_time():
    seeds = [view_seeds(seed, step, 50) for seed, step in itertools.product(range(3), range(4))]
    assert len(np.unique(np.concatenate(seeds))) == 600 and min(map(np.min, seeds)) >= 0
    assert np.array_equal(view_seeds(1, 2, 50), seeds[6])


def test_bytes_are_floats_in_the_end():
    plain, packed = job.Views(tiny_images()), Bytes(tiny_images())
    assert steps(packed)[2][0].dtype == torch.uint8
    assert torch.equal(floats(steps(packed)[2][0]), steps(plain)[2][0])
    assert np.array_equal(job.train(images=packed)[0], job.train(images=plain)[0])


def test_a_set_that_is_read_in_order_gives_its_own_batches():
    images = Shards(tiny_images())
    found = list(stream(steps(images), 3, 6, workers=5))
    assert images.asked == [(8, 3, 3, 0, 1, 5)] and len(found) == 3
    assert torch.equal(found[0][0], tiny_images().batch(slice(24, 32)))
    assert all(map(torch.equal, found[0][1], tiny_model().sample_mask(8, mask_generator(3, 3))))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_cannot_read_is_told_in_its_own_words(workers):
    with pytest.raises(ValueError, match=f"^{re.escape('a.jpg is cut short')}$"):
        next(stream(steps(Broken(tiny_images())), 0, 3, workers=workers))
