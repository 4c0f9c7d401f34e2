"""Laws of the policies, and oracles O9.5 to O9.7 on the binary tree over eight leaves."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.models.guided_masks import POLICIES, guided_mask
from mae_lib.theory.families import tree
from mae_lib.theory.search import locate

RATIO, PATCHES, HIDDEN = 0.75, 24, 18


@st.composite
def groupings(draw):
    """Groups of 24 patches of three images, each in one of three high-level groups."""
    cells = draw(st.lists(st.integers(0, 6), min_size=3 * PATCHES, max_size=3 * PATCHES))
    families = torch.tensor(draw(st.lists(st.integers(0, 2), min_size=7, max_size=7)))
    groups = torch.tensor(cells).view(3, PATCHES)
    return groups, families[groups], torch.Generator().manual_seed(draw(st.integers(0, 99)))


def hidden_of(groups, hidden) -> dict[int, list[bool]]:
    """For each group of one image, which of its patches are hidden."""
    return {g: hidden[groups == g].tolist() for g in groups.unique().tolist()}


def in_part(flags: list[bool]) -> bool:
    return any(flags) and not all(flags)


@given(groupings(), st.sampled_from(POLICIES))
def test_every_policy_hides_as_many_and_lists_every_patch_once(case, policy):
    groups, parents, generator = case
    mask = guided_mask(groups, RATIO, policy, parents=parents, generator=generator)
    assert mask.hidden.shape == (3, HIDDEN)
    assert torch.equal(torch.cat(mask, 1).sort(1).values, torch.arange(PATCHES).expand(3, -1))
    assert torch.equal(mask.hidden, mask.hidden.sort(1).values)


@given(groupings())
def test_whole_cuts_one_group_at_most(case):
    groups, _, generator = case
    hidden = guided_mask(groups, RATIO, "whole", generator=generator).binary().bool()
    for ids, row in zip(groups, hidden, strict=True):
        assert sum(in_part(flags) for flags in hidden_of(ids, row).values()) <= 1


@given(groupings())
def test_shuffled_is_whole_with_the_groups_of_the_next_image(case):
    groups, _, generator = case
    hidden = guided_mask(groups, RATIO, "shuffled", generator=generator).binary().bool()
    for ids, row in zip(groups[[1, 2, 0]], hidden, strict=True):
        assert sum(in_part(flags) for flags in hidden_of(ids, row).values()) <= 1


@given(groupings(), st.sampled_from([0.25, 0.5, 0.75]))
def test_split_keeps_a_group_of_every_high_level_group(case, ratio):
    groups, parents, generator = case
    hidden = guided_mask(groups, ratio, "split", parents=parents,
                         generator=generator).binary().bool()
    for ids, above, row in zip(groups, parents, hidden, strict=True):
        by_parent = [hidden_of(ids[above == p], row[above == p]) for p in above.unique().tolist()]
        cut = sum(in_part(flags) for families in by_parent for flags in families.values())
        shown = [sum(not all(flags) for flags in families.values()) for families in by_parent]
        spared = [any(not any(flags) for flags in families.values()) for families in by_parent]
        assert (all(spared) and cut <= 1) or max(shown) <= 1


@given(groupings(), st.sampled_from([0.25, 0.5, 0.7]))
def test_anti_hides_the_share_in_every_group_to_the_next_patch(case, ratio):
    groups, _, generator = case
    mask = guided_mask(groups, ratio, "anti", generator=generator)
    count = mask.hidden.shape[1]
    for ids, row in zip(groups, mask.binary().bool(), strict=True):
        for flags in hidden_of(ids, row).values():
            least, left_over = divmod(len(flags) * count, PATCHES)
            assert least <= sum(flags) <= least + (left_over > 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_patch_is_hidden_equally_often_among_equal_groups(policy):
    groups = torch.arange(PATCHES).div(4, rounding_mode="floor").expand(4000, -1)
    mask = guided_mask(groups, 0.5, policy, parents=groups // 3,
                       generator=torch.Generator().manual_seed(0))
    shares = mask.binary().mean(0)
    assert (shares - 0.5).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_groups_are_chosen_independently_for_each_image():
    groups = torch.arange(4).repeat_interleave(2).expand(6000, -1)
    mask = guided_mask(groups, 0.5, "whole", generator=torch.Generator().manual_seed(0))
    kinds, counts = mask.hidden.unique(dim=0, return_counts=True)
    assert len(kinds) == 6  # two of four groups
    assert (counts - 1000).abs().max() < 4 * (6000 * 5 / 36) ** 0.5


def test_the_generator_decides_and_bytes_will_do_for_ids():
    ids = torch.randint(0, 9, (5, 64), generator=torch.Generator().manual_seed(3))
    for policy in POLICIES:
        masks = [guided_mask(groups, RATIO, policy, parents=ids // 3,
                             generator=torch.Generator().manual_seed(1))
                 for groups in (ids, ids.to(torch.uint8))]
        assert torch.equal(masks[0].hidden, masks[1].hidden)


GRAPH = tree(2, 3)
LEAVES = torch.arange(8).expand(50, -1)


def shared(hidden) -> frozenset:
    """What Algorithm 1 returns for a set of hidden leaves."""
    return locate(GRAPH, [GRAPH.pixels[i] for i in hidden]).c


def shared_by(policy: str, groups: torch.Tensor, ratio: float, **parents) -> set[frozenset]:
    mask = guided_mask(groups, ratio, policy, generator=torch.Generator().manual_seed(0), **parents)
    return {shared(row) for row in mask.hidden.tolist()}


def test_hiding_all_under_one_child_of_the_root_shares_the_root_alone():
    assert shared_by("whole", LEAVES // 4, 0.5) == {frozenset({"z3:0"})}


def test_hiding_one_of_two_low_groups_shares_what_stands_above_them_alone():
    found = shared_by("split", LEAVES // 2, 0.25, parents=LEAVES // 4)
    assert found == {frozenset({"z2:0"}), frozenset({"z2:1"})}
    found = shared_by("split", LEAVES // 2, 0.5, parents=LEAVES // 4)
    assert found == {frozenset({"z2:0", "z2:1"})}


def test_hiding_half_of_every_low_group_shares_the_low_groups():
    assert shared_by("anti", LEAVES // 2, 0.5) == {frozenset(f"z1:{i}" for i in range(4))}


def test_a_random_half_shares_the_root_alone_once_in_35():
    found = [shared(hidden) for hidden in combinations(range(8), 4)]
    assert found.count(frozenset({"z3:0"})) * 35 == len(found)


def test_the_hidden_side_owns_every_variable_on_the_way_up_to_what_is_shared():
    for size in range(1, 8):
        for hidden in combinations(range(8), size):
            climbed = set()
            for leaf in hidden:
                height, place = 0, leaf
                while all(i in hidden for i in range(place << height, (place + 1) << height)):
                    climbed.add(f"z{height}:{place}" if height else GRAPH.pixels[place])
                    height, place = height + 1, place // 2
            assert climbed <= locate(GRAPH, [GRAPH.pixels[i] for i in hidden]).s_m


def test_bad_groupings_are_refused():
    groups = torch.zeros(2, 8, dtype=torch.long)
    with pytest.raises(ValueError, match="policy must be one of random, .* got 'some'"):
        guided_mask(groups, 0.5, "some")
    with pytest.raises(ValueError, match="parents must be given for policy 'split', got None"):
        guided_mask(groups, 0.5, "split")
    with pytest.raises(ValueError, match=r"shape of groups \[2, 8\], got \[2, 4\]"):
        guided_mask(groups, 0.5, "split", parents=groups[:, :4])
    with pytest.raises(TypeError, match="groups must be integers, got torch.float32"):
        guided_mask(groups.float(), 0.5, "whole")
    with pytest.raises(ValueError, match=r"groups must be ids \[B, L\] from 0, .* with -1"):
        guided_mask(groups - 1, 0.5, "whole")
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\), got 1.5"):
        guided_mask(groups, 1.5, "whole")
