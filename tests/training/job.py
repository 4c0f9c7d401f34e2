"""What the processes of one job do, for test_distributed.py: everything in one start of them.

Alone, as ``python job.py``, the same code gives what is to be expected.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from tiny import tiny_images, tiny_model

from mae_lib import runs, store
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.features import extract_features
from mae_lib.evaluation.scores import reconstruction_records
from mae_lib.training import pretrain as loop
from mae_lib.training.augment import Augment
from mae_lib.training.detector import fit_detector
from mae_lib.training.distributed import World, joined, world
from mae_lib.training.finetune import FinetuneConfig, finetune
from mae_lib.training.pretrain import NonFiniteLoss, own_masks, pretrain
from mae_lib.training.schedule import Recipe
from mae_lib.training.stream import floats

RECIPE = Recipe(views=8 * 30, batch=8, clip=0.5)
SETTINGS = {"plain": {}, "passes": {"micro": 2}, "sharded": {"sharded": True},
            "sharded passes": {"sharded": True, "micro": 2},
            "bfloat16": {"precision": "bfloat16"},
            "float16": {"precision": "float16", "micro": 2},
            "sharded float16": {"precision": "float16", "sharded": True}}


class Views:
    """A stand-in for images in files: a view is the image, darker by what its seed decides."""

    def __init__(self, images):
        self.images, self.size, self.fingerprint = images, images.size, "views"

    def __len__(self):
        return len(self.images)

    def views(self, index, seeds):
        return floats(self.pixels(index, seeds))

    def pixels(self, index, seeds):
        shades = np.array([np.random.default_rng(seed).random() for seed in seeds])
        return torch.from_numpy(np.uint8(self.images.images[index] * shades[:, None, None, None]))


def train(seed: int = 0, images=None, **settings):
    """Losses, and the weights in one vector, of a short run."""
    model = tiny_model(seed)
    history = pretrain(model, images or tiny_images(), RECIPE, backend="eager", progress=False,
                       **settings)
    return history.losses, torch.cat([w.flatten() for w in model.state_dict().values()]).numpy()


def stop_at(step: int, rank: int):
    """Masks as ever, but one process is told to end while the others are not."""
    drawn = own_masks(tiny_model())
    steps = iter(range(10**9))

    def masks(index, generator):
        if next(steps) == step and world().rank == rank:
            import signal
            signal.raise_signal(signal.SIGTERM)
        return drawn(index, generator)

    return masks


def interrupted(folder: Path, **settings) -> None:
    try:
        train(checkpoint=folder, masks=stop_at(13, world().size - 1), **settings)
    except KeyboardInterrupt:
        return
    raise AssertionError("nobody was interrupted")


def bad_loss(rank: int) -> str:
    """The message when the loss of one process is not a number."""
    plain = loop._Run.record

    def record(self, loss):
        bad = self.step + len(self.pending) == 17 and world().rank == rank
        plain(self, loss * float("nan") if bad else loss)

    loop._Run.record = record
    try:
        train()
    except NonFiniteLoss as error:
        return str(error)
    finally:
        loop._Run.record = plain
    return "nothing was noticed"


def evaluate(count: int) -> dict[str, np.ndarray]:
    """A bank and the scores of ``count`` images, by an untrained model."""
    model, images = tiny_model().eval(), tiny_images(count)
    bank = extract_features(model.encoder, images, "cls+mean", views=2, batch=16)
    records = reconstruction_records(model, images, setting={}, seed=0, split="test",
                                     metrics=("mse",))
    items = np.stack([r.items for r in records if r.items is not None])
    return {f"bank {count}": bank.X, f"scores {count}": items,
            f"values {count}": np.array([r.value for r in records])}


def results(folder: Path) -> dict[str, np.ndarray]:
    """Who computed, who wrote, and what was found, of results that all processes ask for."""
    os.environ |= {"MAE_LIB_CACHE": str(folder), "MAE_LIB_PUBLISHED": str(folder / "none")}
    here, calls, write = world(), [], store.write
    store.write = lambda *arguments: calls.append("written") or write(*arguments)
    key = runs.Key("kind", {"a": 1}, 0, ())

    def compute():
        calls.append("computed")
        return {"rank": here.rank, "array": np.arange(3)}

    first, second = (runs.find_or_compute(key, compute) for _ in range(2))
    store.write = write
    try:
        runs.find_or_compute(runs.Key("kind", {"a": here.rank + 2}, 0, ()), compute)
        error = "none"
    except RuntimeError as found:
        error = str(found)
    return {"calls": np.array(calls), "error": np.array(error),
            "where": np.array([first.where, second.where, str(second.value["rank"])]),
            "hardware": np.array(second.provenance["hardware"])}


def finetuned() -> dict[str, np.ndarray]:
    """Of a classifier with mixtures of images, and of a detector."""
    from test_detector import SHORT, squares, toy_detector, weights

    rng = np.random.default_rng(0)
    train, test = (ImageSet(rng.integers(0, 256, (30, 3, 16, 16), dtype=np.uint8),
                            np.arange(30) % 3, ("a", "b", "c"), name, name) for name in "tu")
    found = {}
    for name, augment in (("mixed", Augment(flip=True, mixup=0.8, cutmix=1.0)), ("as is", None)):
        done = finetune(tiny_model(), train, test, FinetuneConfig(epochs=2, batch=6,
                                                                  augment=augment), progress=False)
        found |= {f"finetuned {name}": done.losses, f"logits {name}": done.logits}
    detector = toy_detector()
    found["detector"] = fit_detector(detector, squares(8), SHORT, progress=False)
    trained = [w.flatten() for w in weights(detector).values()]
    found["detector, weights"] = torch.cat(trained).numpy()
    return found


def main(out: Path, old: Path) -> None:
    """``old`` holds checkpoints of a job of another size, ``out`` gets ours."""
    with joined() as here:
        found = {}
        for name, settings in SETTINGS.items():
            found[name], found[f"{name}, weights"] = train(**settings)
        for name in ("plain", "sharded"):
            interrupted(out / name, **SETTINGS[name])
            if (old / name).exists():
                found[f"resumed {name}"] = train(9, checkpoint=old / name, **SETTINGS[name])[0]
        interrupted(out / "float16", **SETTINGS["float16"])
        found["resumed float16"] = train(9, checkpoint=out / "float16", **SETTINGS["float16"])[0]
        found["views"] = train(images=Views(tiny_images()), workers=2)[0]
        found["bad"] = np.array(bad_loss(here.size - 1))
        found |= evaluate(300) | evaluate(3)
        found |= finetuned()
        found |= results(out / "results")
        found["any"] = np.array([here.any(here.rank == 1), here.any(False), here.any(True)])
        found["world"] = np.array([here.rank, here.size, here.device])
        np.savez(out / f"rank{here.rank}.npz", **found)
    assert world() == World()


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_LOG_LEVEL", "ERROR")
    main(*map(Path, sys.argv[1:]))
