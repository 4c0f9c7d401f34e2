"""Probes of frozen features: one call from two feature banks to accuracy and correct items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mae_lib.evaluation.features import FeatureBank
from mae_lib.evaluation.lars import GradientProbe
from mae_lib.evaluation.logistic import LinearProbe
from mae_lib.evaluation.neighbours import NearestNeighbours
from mae_lib.evaluation.records import EvalRecord, records_of


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """Accuracy in [0, 1], ``correct [Nt]`` in the order of the test bank, ``logits [Nt, K]``
    (votes for neighbours), and the fitted probe, whose attributes tell C, budget and so on."""

    accuracy: float
    correct: np.ndarray
    logits: np.ndarray
    probe: LinearProbe | GradientProbe | NearestNeighbours

    def record(self, protocol: str, *, setting: dict, seed: int, dataset: str,
               split: str) -> EvalRecord:
        """The accuracy as a record, one 0 or 1 an item."""
        return records_of({"accuracy": self.correct.astype(np.float32)}, setting=setting,
                          seed=seed, dataset=dataset, split=split, protocol=protocol)[0]


def linear_probe(train: FeatureBank, test: FeatureBank, method: str = "lbfgs", *,
                 C: float | str = "cv", epochs: int = 90, base_lr: float = 0.1,
                 batch: int = 16384, seed: int = 0) -> ProbeResult:
    """Linear classification of frozen features.

    Args:
        method: ``"lbfgs"`` (:class:`LinearProbe`; all views of an image count as items),
            ``"lars"`` or ``"sgd"`` (:class:`GradientProbe`, the recipe of He et al.).
        C: for ``"lbfgs"`` only.
        epochs, base_lr, batch: for ``"lars"`` and ``"sgd"`` only.

    Raises:
        ValueError: unknown method; banks that share ids, differ in D or in their classes.
    """
    check_banks(train, test)
    if method == "lbfgs":
        probe = LinearProbe(C, seed=seed).fit(train.X, train.y)
    elif method in ("lars", "sgd"):
        probe = GradientProbe(method, epochs=epochs, base_lr=base_lr, batch=batch,
                              seed=seed).fit(train.X, train.y)
    else:
        raise ValueError(f"method must be 'lbfgs', 'lars' or 'sgd', got {method!r}")
    return evaluate(probe, test)


def knn_probe(train: FeatureBank, test: FeatureBank, k: Sequence[int] = (1, 10, 20),
              temperature: float | None = 0.07) -> dict[int, ProbeResult]:
    """Nearest neighbours by cosine similarity, ``{k: result}``.

    Args:
        temperature: weights exp(similarity / temperature) for k = 20 and above, the form of DINO;
            fewer neighbours vote equally.

    Raises:
        ValueError: banks as in :func:`linear_probe`; a ``k`` not below the training items.
    """
    check_banks(train, test)
    return {n: evaluate(NearestNeighbours(n, temperature=temperature if n >= 20 else None)
                        .fit(train.image, train.y), test) for n in k}


def evaluate(probe, test: FeatureBank) -> ProbeResult:
    """Apply a fitted probe to the images of a bank as they are."""
    logits = probe.decision_function(test.image)
    correct = probe.classes_[logits.argmax(1)] == test.y
    return ProbeResult(float(correct.mean()), correct, logits, probe)


def check_banks(train: FeatureBank, test: FeatureBank) -> None:
    """Raise ValueError if a probe fitted on ``train`` says nothing about ``test``."""
    if train.X.shape[2] != test.X.shape[2]:
        raise ValueError(f"train and test must have features of one length, "
                         f"got {train.X.shape[2]} and {test.X.shape[2]}")
    if shared := len(np.intersect1d(train.ids, test.ids)):
        raise ValueError(f"train and test must not share images, got {shared} ids in both")
    unseen, unused = set(test.y) - set(train.y), set(train.y) - set(test.y)
    if unseen:
        raise ValueError(f"train must hold every class of test, got none of "
                         f"{sorted(map(int, unseen))}")
    if unused:
        raise ValueError(f"test must hold every class of train, got none of "
                         f"{sorted(map(int, unused))}")
