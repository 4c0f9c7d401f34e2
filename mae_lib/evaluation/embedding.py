"""How well features keep classes apart, and the t-SNE maps that are drawn of them.

Kong et al. 2023, figures 8 and 10 and appendix C.5: principal components to 50 numbers, then t-SNE
with perplexity 20. A map exaggerates: even noise gets islands. What can be tested are the numbers
in the space of the components, :func:`separability`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE, trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

DIMENSIONS = 50
GRID = (0.1, 1.0, 10.0, 100.0)  # of C, for features whose mean variance is 1
INNER = 3  # folds that choose C
NEIGHBOURS = 10


@dataclass(frozen=True, eq=False)
class Embedding:
    """A t-SNE map ``xy [N,2]`` of the components ``pca [N,d]``.

    ``explained [d]`` is each component's share of the variance, ``trustworthiness`` (of ten
    neighbours, in [0, 1]) and ``kl`` say how good the map is, ``silhouette`` how far apart it
    shows the classes: secondary to that of the components.
    """

    xy: np.ndarray
    pca: np.ndarray
    explained: np.ndarray
    trustworthiness: float
    kl: float
    silhouette: float


def embed_2d(X: np.ndarray, y: np.ndarray, pca_dim: int = DIMENSIONS, perplexity: float = 20,
             seed: int = 0, **tsne) -> Embedding:
    """Principal components, then t-SNE (Barnes and Hut, angle .5, started from two components).

    Args:
        X: features ``[N,D]``.
        y: classes ``[N]``; they do not change the map.
        tsne: further settings of scikit-learn's TSNE.

    Raises:
        ValueError: features or classes off, see :func:`principal`; fewer than 2 classes, or a
            class of at most ten; a perplexity that is not below N/3.
    """
    X, y = _checked(X, y, NEIGHBOURS)
    if not 0 < perplexity < len(X) / 3:
        raise ValueError(f"perplexity must lie in (0, {len(X) / 3:g}), below a third of the items, "
                         f"got {perplexity}")
    pca, explained = principal(X, pca_dim)
    settings = {"init": "pca", "learning_rate": "auto", "random_state": seed} | tsne
    model = TSNE(perplexity=perplexity, **settings)
    xy = model.fit_transform(pca)
    return Embedding(xy, pca, explained,
                     float(trustworthiness(pca, xy, n_neighbors=NEIGHBOURS)),
                     float(model.kl_divergence_), float(silhouette_score(xy, y)))


def principal(X: np.ndarray, dims: int = DIMENSIONS) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components ``[N,dims]``, not whitened, and their shares ``[dims]``.

    Raises:
        ValueError: ``X`` is not ``[N,D]`` or not finite; fewer than ``dims`` components. Where N or
            D is below 50, all components are taken, with a warning.
    """
    X = _matrix(X)
    most = min(X.shape)
    if not 1 <= dims <= max(most, DIMENSIONS):
        raise ValueError(f"dims must lie in 1..{most}, got {dims}")
    if dims > most:
        warnings.warn(f"features of shape {list(X.shape)} have {most} components, not {dims}",
                      stacklevel=2)
    model = PCA(min(dims, most), svd_solver="full")
    return model.fit_transform(X), model.explained_variance_ratio_


def separability(X: np.ndarray, y: np.ndarray, k: int = NEIGHBOURS, folds: int = 5,
                 seed: int = 0) -> dict[str, float]:
    """How far apart classes ``y [N]`` lie in features ``X [N,D]``, by Euclidean distance.

    ``purity``: mean share of the ``k`` nearest neighbours that are of the same class (by chance
    (n - 1) / (N - 1) for classes of n). ``linear_acc``: accuracy of logistic regression on items
    left out, its penalty chosen inside; the same rows are left out for every X. ``silhouette``.
    ``fisher``: variance between classes over variance within.

    None of them changes if features are turned, shifted, or scaled all alike.

    Raises:
        ValueError: features or classes off; fewer than 2 classes, or a class of at most ``k`` or
            fewer than ``folds`` items.
    """
    X, y = _checked(X, y, max(k, folds - 1))
    nearest = NearestNeighbors(n_neighbors=k).fit(X).kneighbors(return_distance=False)
    return {"purity": float((y[nearest] == y[:, None]).mean()),
            "linear_acc": linear_accuracy(X, y, folds, seed),
            "silhouette": float(silhouette_score(X, y)), "fisher": fisher_ratio(X, y)}


def linear_accuracy(X: np.ndarray, y: np.ndarray, folds: int = 5, seed: int = 0) -> float:
    """Mean accuracy of logistic regression on stratified folds left out; see `separability`."""
    X = (X - X.mean(0)) / np.sqrt(X.var(0).mean())  # one scale, else turning would change it
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(X, y)
    return float(np.mean([_fit(X[some], y[some], _best(X[some], y[some], seed))
                          .score(X[rest], y[rest]) for some, rest in parts]))


def fisher_ratio(X: np.ndarray, y: np.ndarray) -> float:
    """Trace of the scatter between classes over that within them."""
    means = np.stack([X[y == label].mean(0) for label in np.unique(y)])
    centres = means[np.unique(y, return_inverse=True)[1]]
    return float(((centres - X.mean(0)) ** 2).sum() / ((X - centres) ** 2).sum())


def draws(labels: np.ndarray, classes: int = 10, per_class: int = 100, count: int = 5,
          seed: int = 0) -> list[np.ndarray]:
    """Indices of ``count`` samples, each of some random classes and as many images of each.

    Where there are no more than ``classes`` classes, the samples differ in their images only.

    Raises:
        ValueError: fewer classes, or fewer images in one of them.
    """
    names, sizes = np.unique(labels, return_counts=True)
    if len(names) < classes or sizes.min() < per_class:
        raise ValueError(f"labels must hold {classes} classes of {per_class} images, "
                         f"got {len(names)} and as few as {sizes.min()}")
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.choice(names, classes, replace=False)) for _ in range(count)]
    return [np.concatenate([rng.choice(np.flatnonzero(labels == name), per_class, replace=False)
                            for name in some]) for some in chosen]


def _best(X: np.ndarray, y: np.ndarray, seed: int) -> float:
    """The C with the best accuracy on inner folds; of equal ones the strongest penalty.

    Each C starts where the one before ended, and stops sooner than the last fit: three times as
    fast, and the accuracy hardly depends on it.
    """
    accuracy = np.zeros(len(GRID))
    for some, rest in StratifiedKFold(INNER, shuffle=True, random_state=seed).split(X, y):
        model = LogisticRegression(warm_start=True, max_iter=2000, tol=3e-3)
        for i, C in enumerate(GRID):
            accuracy[i] += model.set_params(C=C).fit(X[some], y[some]).score(X[rest], y[rest])
    return GRID[int(accuracy.argmax())]


def _fit(X: np.ndarray, y: np.ndarray, C: float) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=2000, tol=1e-3).fit(X, y)


def _matrix(X: np.ndarray) -> np.ndarray:
    X = np.asarray(X, np.float64)
    if X.ndim != 2 or 0 in X.shape or not np.isfinite(X).all():
        raise ValueError(f"X must be finite features [N,D], got shape {list(X.shape)}"
                         + " with NaN or infinity" * (X.ndim == 2 and X.size > 0))
    if not np.ptp(X, 0).any():
        raise ValueError(f"X must vary, got {len(X)} times the same features")
    return X


def _checked(X: np.ndarray, y: np.ndarray, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes, each class of more than ``members``."""
    X, y = _matrix(X), np.asarray(y)
    if y.shape != X.shape[:1]:
        raise ValueError(f"y must hold {len(X)} classes, one an item, got shape {list(y.shape)}")
    names, sizes = np.unique(y, return_counts=True)
    if len(names) < 2 or sizes.min() <= members:
        raise ValueError(f"y must hold at least 2 classes of more than {members} items, "
                         f"got {len(names)} and as few as {sizes.min()}")
    return X, y
