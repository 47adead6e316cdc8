"""Changes of training images that the property of interest does not notice, applied at random to each batch.

A periodic microstructure has no origin, and many properties have no direction either: a network that sees shifted,
mirrored and turned copies need not learn these symmetries from measurements. Signals, images and volumes are treated
alike; what has values at places, such as labels of pixels, moves along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.graph.graphs import Graphs

Move = Callable[[torch.Tensor, bool], torch.Tensor]
"""Moves the last axes of (k, channels, *places); the second argument says whether values may be interpolated."""

Augment = str | list[str | dict[str, int | float]]
"""As a campaign file has it: "none", "roll", "square", or a list such as [flip, turn, {crop: 128}, {noise: 0.1}]."""

SHORT: Mapping[str, tuple[str, ...]] = {"none": (), "roll": ("shift", "flip"), "square": ("shift", "flip", "turn")}
"""Lists that have a name: "roll" and "square" are for periodic images."""

_GROUPS = 8  # parts of a batch that are moved in different ways
_KNOTS = 4  # of an elastic change along each axis


@dataclass(frozen=True, slots=True)
class Operation:
    """One change.

    Attributes:
        default: of its number where the list has its name only.
        most: largest number; None where it takes a length.
        moves: whether it moves places, or else changes values.
        strength: whether the number can be made smaller or larger by a factor.
    """

    default: float
    most: float | None
    moves: bool
    strength: bool


OPERATIONS: Mapping[str, Operation] = {
    "flip": Operation(0.5, 1.0, moves=True, strength=False),
    "turn": Operation(1.0, 1.0, moves=True, strength=False),
    "swap": Operation(0.5, 1.0, moves=True, strength=False),
    "shift": Operation(1.0, 1.0, moves=True, strength=False),
    "crop": Operation(math.nan, None, moves=True, strength=False),
    "scale": Operation(0.2, 1.0, moves=True, strength=True),
    "elastic": Operation(0.03, 0.5, moves=True, strength=True),
    "noise": Operation(0.1, 10.0, moves=False, strength=True),
    "brightness": Operation(0.1, 10.0, moves=False, strength=True),
}
"""flip: mirror along each axis with that probability. turn: by quarters, with that probability, in any plane of equal
extents. swap: exchange the last two axes with that probability, which leaves the first axis of a volume special.
shift: periodically, by up to that share of the extent. crop: a random part of that extent; put it first.
scale: by a factor of up to exp(number) or its inverse. elastic: smooth displacements of about that share of the extent.
noise: of that standard deviation. brightness: a random factor and offset of that standard deviation; inputs are
standardised."""


class Augmentation:
    """Operations in order; call it with a batch of inputs and targets.

    Attributes:
        steps: names and numbers.
    """

    def __init__(self, steps: Sequence[tuple[str, float]], strength: float = 1.0, *, targets_move: bool = True) -> None:
        """Of checked steps.

        Args:
            steps: as `augmentation` gives them.
            strength: a factor on what can be stronger or weaker.
            targets_move: whether targets that have a value at each place move along; a property that has by chance as
                many numbers as there are places does not.
        """
        self.targets_move = targets_move
        self.steps = tuple((name, number * strength if OPERATIONS[name].strength else number) for name, number in steps)

    def __call__(self, x: Any, y: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Change a batch.

        Args:
            x: (n, channels, *places), standardised; the draws come from torch's global generator.
            y: (n,) or (n, m), left alone, or labels (n, *places) or values (n, m, *places), which move along.

        Raises:
            ValueError: the inputs have no places, or not those that an operation needs.
        """
        if isinstance(x, Graphs) or x.ndim < 3:
            shape = "graphs" if isinstance(x, Graphs) else tuple(x.shape)
            raise ValueError(f"expected inputs (n, channels, ...) to augment, got {shape}; use augment: none")
        for name, number in self.steps:
            if not OPERATIONS[name].moves:
                x = _noise(x, number) if name == "noise" else _brightness(x, number)
            elif number:
                x, y = _moved(name, number, x, y, self.targets_move)
        return x, y

    @property
    def flexible(self) -> bool:
        """Whether a strength makes a difference."""
        return any(OPERATIONS[name].strength for name, _ in self.steps)

    def views(self, places: Sequence[int]) -> int:
        """How many examples an image of these extents stands for: as many as crops fit into it."""
        crops = [number for name, number in self.steps if name == "crop"]
        if not crops:
            return 1
        return max(math.ceil(math.prod(extent / min(crops[0], extent) for extent in places)), 1)


def augmentation(wish: Augment) -> tuple[tuple[str, float], ...]:
    """Steps of what a campaign file asks for.

    Raises:
        ConfigError: an unknown operation, or a number that it cannot have.
    """
    if isinstance(wish, str):
        if wish not in SHORT:
            raise ConfigError(f"expected augment: one of {list(SHORT)} or a list, got {wish!r}", at="augment")
        return tuple(_step(item) for item in SHORT[wish])
    steps = tuple(_step(item) for item in wish)
    names = [name for name, _ in steps]
    if "crop" in names and "shift" in names[names.index("crop") :]:
        raise ConfigError(
            "expected shift before crop in augment, since a part of a periodic image is not periodic; exchange them",
            at="augment",
        )
    return steps


def transform(wish: Augment) -> Augmentation | None:
    """The augmentation that a campaign file asks for; None for none.

    Raises:
        ConfigError: as `augmentation`.
    """
    steps = augmentation(wish)
    return Augmentation(steps) if steps else None


def _step(item: str | Mapping[str, Any]) -> tuple[str, float]:
    name, number = (item, None) if isinstance(item, str) else next(iter(item.items()), ("", None))
    if (not isinstance(item, str) and len(item) != 1) or name not in OPERATIONS:
        raise ConfigError(
            f"expected augment: a list of {', '.join(OPERATIONS)}, each alone or as {{name: number}}, got {item!r}",
            at="augment",
        )
    operation = OPERATIONS[name]
    value = operation.default if number is None else number
    length = operation.most is None
    fits = isinstance(value, int if length else int | float) and not isinstance(value, bool)
    if not fits or not (value >= 2 if length else 0 <= value <= operation.most):  # type: ignore[operator]
        expected = "a length of at least 2, e.g. {crop: 128}" if length else f"a number from 0 to {operation.most:g}"
        raise ConfigError(f"expected {name} in augment: {expected}, got {number!r}", at="augment")
    return name, float(value)


def _moved(
    name: str, number: float, x: torch.Tensor, y: torch.Tensor, targets_move: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move inputs, and targets that have places, alike; a part of the batch at a time."""
    places = x.shape[2:]
    labels, along = tuple(y.shape[1:]) == tuple(places), tuple(y.shape[-len(places) :]) == tuple(places)
    along = along and (labels or y.ndim == x.ndim) and targets_move
    groups = len(x) if name == "crop" else min(len(x), _GROUPS)
    xs, ys = [], []
    for part, target in zip(x.tensor_split(groups), y.tensor_split(groups), strict=True):
        move = _MOVES[name](tuple(places), number)
        xs.append(move(part, True))
        if along:
            moved = move(target[:, None] if labels else target, not labels and target.is_floating_point())
            target = moved[:, 0] if labels else moved
        ys.append(target)
    return torch.cat(xs), torch.cat(ys)


def _uniform() -> float:
    return float(torch.rand(()))


def _flip(places: tuple[int, ...], number: float) -> Move:
    axes = [axis - len(places) for axis in range(len(places)) if _uniform() < number]
    return lambda maps, smooth: maps.flip(axes) if axes else maps


def _turn(places: tuple[int, ...], number: float) -> Move:
    planes = [(a, b) for b in range(len(places)) for a in range(b) if places[a] == places[b]]
    if not planes:
        raise ValueError(f"expected images with two equal extents to turn, got {places}; leave turn out of augment")
    if _uniform() >= number:
        return lambda maps, smooth: maps
    turns = [(int(torch.randint(4, ())), tuple(axis - len(places) for axis in plane)) for plane in planes]

    def move(maps: torch.Tensor, smooth: bool) -> torch.Tensor:
        for quarters, plane in turns:
            maps = maps.rot90(quarters, plane)
        return maps

    return move


def _swap(places: tuple[int, ...], number: float) -> Move:
    if len(places) < 2 or places[-1] != places[-2]:
        raise ValueError(f"expected two equal last extents to swap, got {places}; leave swap out of augment")
    swapped = _uniform() < number
    return lambda maps, smooth: maps.transpose(-1, -2) if swapped else maps


def _shift(places: tuple[int, ...], number: float) -> Move:
    offsets = [round((_uniform() - 0.5) * number * extent) for extent in places]
    axes = [axis - len(places) for axis in range(len(places))]
    return lambda maps, smooth: maps.roll(offsets, axes)


def _crop(places: tuple[int, ...], number: float) -> Move:
    sizes = [min(int(number), extent) for extent in places]
    starts = [int(torch.randint(extent - size + 1, ())) for extent, size in zip(places, sizes, strict=True)]

    def move(maps: torch.Tensor, smooth: bool) -> torch.Tensor:
        for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            maps = maps.narrow(axis - len(places), start, size)
        return maps

    return move


def _scale(places: tuple[int, ...], number: float) -> Move:
    factor = math.exp(number * (2 * _uniform() - 1))
    return _sampled(places, lambda grid: grid * factor)


def _elastic(places: tuple[int, ...], number: float) -> Move:
    axes = len(places)
    knots = number * 2 * torch.randn(1, axes, *[_KNOTS] * axes)
    modes = {1: "linear", 2: "bicubic", 3: "trilinear"}
    smooth = nn.functional.interpolate(knots, size=places, mode=modes[axes], align_corners=True)
    return _sampled(places, lambda grid: grid + smooth.movedim(1, -1).to(grid))


def _sampled(places: tuple[int, ...], change: Callable[[torch.Tensor], torch.Tensor]) -> Move:
    """Values at changed places, of which -1 and 1 are the outer edges; beyond them images are mirrored."""

    def move(maps: torch.Tensor, smooth: bool) -> torch.Tensor:
        lines = [(2 * torch.arange(n, device=maps.device) + 1) / n - 1 for n in places]
        meshes = torch.meshgrid(*lines, indexing="ij")  # torch wants the last axis first
        grid = change(torch.stack(meshes[::-1], dim=-1)[None].float())
        source, signal = maps, len(places) == 1
        if signal:  # torch samples images and volumes only
            source, grid = maps[:, :, None], torch.cat([grid, torch.zeros_like(grid)], dim=-1)[:, None]
        sampled = nn.functional.grid_sample(
            source.float(),
            grid.expand(len(maps), *grid.shape[1:]),
            mode="bilinear" if smooth else "nearest",
            padding_mode="reflection",
            align_corners=False,
        )
        return (sampled[:, :, 0] if signal else sampled).to(maps.dtype)

    return move


def _noise(x: torch.Tensor, number: float) -> torch.Tensor:
    return x + number * torch.randn_like(x)


def _brightness(x: torch.Tensor, number: float) -> torch.Tensor:
    factor, offset = (number * torch.randn(len(x), *[1] * (x.ndim - 1), device=x.device) for _ in range(2))
    return x * (1 + factor) + offset


_MOVES: Mapping[str, Callable[[tuple[int, ...], float], Move]] = {
    "flip": _flip,
    "turn": _turn,
    "swap": _swap,
    "shift": _shift,
    "crop": _crop,
    "scale": _scale,
    "elastic": _elastic,
}
