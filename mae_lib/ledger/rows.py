"""Names of the rows of Kong and Zhang's tables (CVPR 2023): levels of the series ``"method"``."""

from __future__ import annotations

SCRATCH, MAE, RMAE, CMAE = "no pretraining", "MAE", "R-MAE", "C-MAE"
MOCO, SUPERVISED = "MoCo v3", "supervised"
INDEPENDENT, IDENTITY = "R-MAE, T2 hides a quarter", "R-MAE, T2 hides nothing"
DROPPED, BYOL = "C-MAE without mask tokens", "C-MAE, BYOL"
BYOL_DROPPED = "C-MAE, BYOL, without mask tokens"
JITTERED, JITTERED_INPUT = "MAE, jittered image", "MAE, jittered input"
CLASS, POOLED, BOTH = "C-MAE, class token", "C-MAE, mean of tokens", "C-MAE, tokens and class token"
PHOTOGRAPH = "crops of one photograph"
EXTRAS = ("mask", "cutmix", "colour")  # the augmentations of Table 5


def longer(name: str) -> str:
    """The same, trained longer (Table 2)."""
    return f"{name}, longer"


def factorial(name: str, subset: tuple[str, ...]) -> str:
    """A cell of Table 5."""
    return f"{name}: {' + '.join(subset) or 'nothing'}"


def few(count: int, how: str = "") -> str:
    """MAE on few images (Tables 6 and 7), ``how`` they are chosen or seen."""
    return f"{count} image{'s' if count > 1 else ''}" + (f", {how}" if how else "")


def on_few(name: str, count: int) -> str:
    """A method on few images of each class (Table 8)."""
    return f"{name}, {count} images"


BARE = factorial(CMAE, ("mask",))
ONE, THOUSAND = few(1, "crops"), few(1000, "crops")
CHOSEN = tuple(few(1000, how) for how in ("one class", "random", "each class"))
