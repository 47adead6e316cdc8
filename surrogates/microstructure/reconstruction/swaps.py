"""Finish a structure by exchanging pairs of pixels, each time the pair that lowers the error most.

Of all pixels, a few are chosen by the slope of the error. For pairs of these the change follows to second order: a
correlation is quadratic in the pixels, and a lineal path changes with the two runs that a pixel divides or joins. The
best pair is measured and kept if the error fell, so the error never rises and volume fractions stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.phases import indicators
from matloop.surrogates.microstructure.reconstruction.relaxation import correlated, slopes
from matloop.surrogates.microstructure.reconstruction.target import Target
from matloop.surrogates.microstructure.runs import ahead

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

CANDIDATES = 20
"""Pixels of each phase among which pairs are sought."""

TRIES = 6
"""Best pairs that are measured before other candidates are drawn."""

PATIENCE = 12
"""Draws of candidates without a better pair after which a structure is finished."""


@dataclass(frozen=True, slots=True)
class State:
    """A structure with its statistics.

    Attributes:
        labels: (*shape).
        slopes: change of the correlations' squared error with each phase in each pixel, (k, *shape).
        runs: (k, dimensions, 2, *shape), how far a phase goes on from each pixel, itself left out, both ways along
            each axis.
        path_errors: (k, dimensions, longest + 1), of the lineal paths.
        value: what is made small.
    """

    labels: Labels
    slopes: npt.NDArray[np.float32]
    runs: npt.NDArray[np.int64]
    path_errors: Floats
    value: float


def swapped(target: Target, labels: Labels, rng: np.random.Generator, *, moves: int, path_weight: float) -> State:
    """Exchange pairs of pixels while that lowers the error.

    Args:
        target: to be matched.
        labels: with the numbers of pixels that it asks for.
        rng: chooses other candidates where the best ones are of no use.
        moves: exchanges at most.
        path_weight: of the lineal paths' relative squared error beside that of the correlations.

    Returns:
        The last and best state.
    """
    state = measured(target, labels, path_weight)
    pairs = list(combinations(range(target.phases), 2))
    turn, stuck = 0, 0
    for _ in range(moves):
        while stuck < PATIENCE * len(pairs):
            found = _better(target, state, pairs[turn % len(pairs)], rng, path_weight, varied=stuck >= len(pairs))
            turn += 1
            if found is not None:
                state, stuck = found, 0
                break
            stuck += 1
        else:
            break
    return state


def measured(target: Target, labels: Labels, path_weight: float) -> State:
    """A structure with its statistics."""
    spectra, errors = correlated(target, indicators(labels, target.phases).astype(np.float32))
    runs = np.stack([_runs(labels == k) for k in range(target.phases)])
    path_errors = _paths(labels, runs, target.paths.shape[-1]) - target.paths
    value = float((errors * errors * target.lags).sum()) + path_weight * float((path_errors**2 / _sizes(target)).sum())
    return State(labels, slopes(target, spectra, errors), runs, path_errors, value)


def _sizes(target: Target) -> Floats:
    """(k, 1, 1), by which squared errors of lineal paths are divided: their own squares, and the number of phases."""
    squares = (target.paths**2).sum(axis=(1, 2), keepdims=True)
    found: Floats = np.maximum(squares, 1e-12) * target.phases
    return found


def _runs(phase: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(dimensions, 2, *shape): pixels of the phase next to each pixel, after it and before it."""
    found = []
    for axis in range(phase.ndim):
        after = np.roll(ahead(phase, axis, periodic=True), -1, axis)
        before = np.roll(np.flip(ahead(np.flip(phase, axis), axis, periodic=True), axis), 1, axis)
        found.append([after, before])
    return np.array(found)


def _paths(labels: Labels, runs: npt.NDArray[np.int64], lags: int) -> Floats:
    """Lineal paths, from how many pixels of a phase have at least so many more of it behind them."""
    found = np.zeros((*runs.shape[:2], lags))
    for k in range(len(runs)):
        inside = labels == k
        for axis in range(labels.ndim):
            counts = np.bincount(runs[k, axis, 0][inside], minlength=lags)
            found[k, axis] = counts[::-1].cumsum()[::-1][:lags] / labels.size
    return found


def _better(
    target: Target, state: State, pair: tuple[int, int], rng: np.random.Generator, path_weight: float, *, varied: bool
) -> State | None:
    """The state after the best exchange between two phases that lowers the error, if one was found."""
    ways = [_Way(target, state, a, b, path_weight) for a, b in (pair, pair[::-1])]
    if not all(len(way.pixels) for way in ways):
        return None
    first, second = (way.chosen(rng, varied) for way in ways)
    changes = _changes(target, state, ways, (first, second), path_weight)
    for place in np.argsort(changes, axis=None)[:TRIES]:
        i, j = np.unravel_index(place, changes.shape)
        if changes[i, j] >= 0:
            return None
        labels = state.labels.copy()
        labels.flat[first[i]], labels.flat[second[j]] = pair[1], pair[0]
        found = measured(target, labels, path_weight)
        if found.value < state.value * (1 - 1e-6):
            return found
    return None


class _Way:
    """What happens where a pixel of one phase becomes one of another, to first order, for all its pixels at once."""

    def __init__(self, target: Target, state: State, a: int, b: int, path_weight: float) -> None:
        self.target, self.state, self.a, self.b = target, state, a, b
        self.pixels = np.flatnonzero(state.labels == a)
        flat = state.slopes.reshape(target.phases, -1)
        self.change = (flat[b] - flat[a])[self.pixels] + self._path_change(path_weight)

    def chosen(self, rng: np.random.Generator, varied: bool) -> npt.NDArray[np.int64]:
        """The pixels, by their place in the flat picture, with the best first-order change."""
        change = self.change
        if varied:
            change = change + change.std() * rng.gumbel(size=change.shape) / 2
        n = min(CANDIDATES, len(change))
        return self.pixels[np.argpartition(change, n - 1)[:n]]

    def _path_change(self, path_weight: float) -> Floats:
        slopes = 2 * path_weight * self.state.path_errors / _sizes(self.target) / self.state.labels.size
        total = np.zeros(len(self.pixels))
        for axis in range(self.state.labels.ndim):
            for phase, sign in ((self.a, -1), (self.b, 1)):
                after, before = self.state.runs[phase, axis].reshape(2, -1)[:, self.pixels]
                worth = _worth(slopes[phase, axis], self.state.labels.shape[axis])
                total += sign * (worth[after + before + 1] - worth[after] - worth[before])
        return total

    def path_steps(self, pixels: npt.NDArray[np.int64]) -> Floats:
        """Changes of the lineal paths of all phases where each of some pixels changes: (n, k, dimensions, lags)."""
        lags = np.arange(self.state.path_errors.shape[-1])
        steps = np.zeros((len(pixels), *self.state.path_errors.shape))
        for axis in range(self.state.labels.ndim):
            for phase, sign in ((self.a, -1), (self.b, 1)):
                after, before = self.state.runs[phase, axis].reshape(2, -1)[:, pixels, None]
                whole, one, other = (np.maximum(n - lags, 0) for n in (after + before + 1, after, before))
                steps[:, phase, axis] += sign * (whole - one - other)
        return steps / self.state.labels.size


def _worth(slopes: Floats, side: int) -> Floats:
    """What a run of 0, 1, … pixels contributes to first order: the sum over lags of slope times segments in it."""
    lengths = np.arange(2 * side + 2)
    found: Floats = np.maximum(lengths[:, None] - np.arange(len(slopes)), 0) @ slopes
    return found


def _changes(
    target: Target, state: State, ways: list[_Way], pixels: tuple[npt.NDArray[np.int64], ...], path_weight: float
) -> Floats:
    """Change of the error where pixels of both ways are exchanged, (n, m), to second order."""
    first, second = (way.change[np.searchsorted(way.pixels, of)] for way, of in zip(ways, pixels, strict=True))
    changes: Floats = first[:, None] + second[None, :]
    both, n = np.concatenate(pixels), len(pixels[0])
    for index, pair in enumerate(target.pairs):
        signs = [int(phase == ways[0].b) - int(phase == ways[0].a) for phase in pair]
        if not any(signs):
            continue
        products = _products(target, state, index, signs, both)
        own = np.diag(products)
        changes += own[:n, None] + own[None, n:] - 2 * products[:n, n:]
    weight = np.sqrt(path_weight / _sizes(target))
    one, other = ((way.path_steps(of) * weight).reshape(len(of), -1) for way, of in zip(ways, pixels, strict=True))
    changes += (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] + 2 * one @ other.T
    return changes


def _products(target: Target, state: State, index: int, signs: list[int], pixels: npt.NDArray[np.int64]) -> Floats:
    """Weighted sums over lags of products of what two pixels add to a correlation, (n, n)."""
    shape = state.labels.shape
    from_, to = ((state.labels == phase).astype(np.float32) for phase in target.pairs[index])
    ahead_, behind = signs[0] * to, signs[1] * np.roll(np.flip(from_), 1, tuple(range(from_.ndim)))
    tiled, tiled_turned = (np.tile(a, (2,) * a.ndim) for a in (ahead_, behind))
    lags = np.sqrt(target.lags[index]) / state.labels.size
    known = np.flatnonzero(lags)[1:]  # lag 0 is the number of pixels, which stays
    windows = np.empty((len(pixels), len(known)), dtype=np.float32)
    for row, place in enumerate(np.stack(np.unravel_index(pixels, shape), axis=1)):
        there = tuple(slice(p, p + n) for p, n in zip(place, shape, strict=True))
        back = tuple(slice(-p % n, -p % n + n) for p, n in zip(place, shape, strict=True))
        windows[row] = (tiled[there] + tiled_turned[back]).ravel()[known]
    windows *= lags.ravel()[known]
    return (windows @ windows.T).astype(np.float64)
