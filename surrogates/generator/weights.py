"""Generators by name: a shipped one, a file of weights, or options of one that needs no training.

A file is safetensors holding the weights, and in its header what they are and how they came to be.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.gaussian_field import GaussianField
from matloop.surrogates.generator.interface import MicrostructureGenerator, Named
from matloop.surrogates.generator.network import Architecture, Generator

SHIPPED = Path(__file__).parent / "pretrained"
HEADER = "matloop_generator"


def save(generator: Generator, path: Path, notes: Mapping[str, Any]) -> None:
    """Write weights and header.

    Args:
        generator: trained.
        path: ends in .safetensors; its folder is created.
        notes: JSON-able, for people: training settings and measured quality.
    """
    header = {**dataclasses.asdict(generator.architecture), **notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    part = path.with_name(f"{path.name}.part")
    save_file(tensors, part, metadata={HEADER: json.dumps(header, sort_keys=True)})
    part.replace(path)


def locate(name_or_path: str | Path) -> tuple[Path, int | None]:
    """File of a generator, and the side of its images in pixels where the name says it.

    Args:
        name_or_path: a shipped one by its family and side ("grf32", "grf64": the same weights) or a path.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path.resolve(), None
    named = re.fullmatch(r"([a-z]+)(\d+)", path.name)
    if named and path.parent in (Path(), Path("pretrained")):
        shipped = SHIPPED / f"{named[1]}.safetensors"
        if shipped.is_file():
            return shipped, int(named[2])
    names = ", ".join(f"{p.stem}32, {p.stem}64, …" for p in sorted(SHIPPED.glob("*.safetensors")))
    raise ConfigError(
        f"expected a generator's name ({names}) or an existing .safetensors file, got {str(name_or_path)!r}; "
        "train one with: python -m matloop.surrogates.generator.train --out FILE.safetensors",
        at="generator",
    )


def header(name_or_path: str | Path) -> dict[str, Any]:
    """What a generator's file says of itself: its architecture, and the notes given to `save`.

    Raises:
        ConfigError: no such file, or not one written by `save`.
    """
    path, _ = locate(name_or_path)
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get(HEADER)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"expected a safetensors file at {path}, got an unreadable one ({error})") from error
    if found is None:
        raise ConfigError(
            f"expected a generator of matloop.surrogates.generator.train, got {path} without the {HEADER!r} header"
        )
    parsed: dict[str, Any] = json.loads(found)
    return parsed


def load(
    generator: Named, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> MicrostructureGenerator:
    """Build a generator, ready to render; it is shared by all who load it, and so to be left unchanged.

    Args:
        generator: a name among the shipped ones or the path of a file (see `locate`), or options with a `kind`:
            {kind: field, size: 64, length: 4, volume_fraction: 0.5} for the options of `GaussianField`;
            {kind: gan, file: NAME_OR_PATH, size: 96} for a trained one whose latent grid has as many cells as images
            of this side (one number) or these sides ([H, W]) need, pixels.
        dtype: of weights and images; float64 for tests of gradients and acquisition functions.
        device: where to put it.

    Returns:
        Module in evaluation mode whose weights ask for no gradient.

    Raises:
        ConfigError: no such file, or an option that does not exist or fit.
    """
    if not isinstance(generator, Mapping):
        generator = {"kind": "gan", "file": str(generator)}
    options = dict(generator)
    kind = options.pop("kind", None)
    if kind == "field":
        return _field(json.dumps(_known(options, tuple(inspect.signature(GaussianField).parameters))), dtype, device)
    if kind == "gan":
        _known(options, ("file", "size"))
        if not isinstance(options.get("file"), str | Path):
            raise ConfigError("expected file: a generator's name or its .safetensors file", at="file")
        path, size = locate(options["file"])
        size = options.get("size", size)
        return _trained(path, path.stat().st_mtime_ns, json.dumps(size), dtype, torch.device(device))
    raise ConfigError(f"expected kind: field or gan, got {kind!r}", at="kind")


def _known(options: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if unknown := sorted(set(options) - set(names)):
        raise ConfigError(f"expected options among {', '.join(names)}, got {unknown[0]!r}", at=unknown[0])
    return options


@functools.lru_cache(maxsize=8)
def _field(options: str, dtype: torch.dtype, device: torch.device | str) -> GaussianField:
    with torch.inference_mode(False):
        return GaussianField(**json.loads(options)).to(device, dtype).eval()


@functools.lru_cache(maxsize=8)
def _trained(path: Path, modified: int, size: str, dtype: torch.dtype, device: torch.device) -> Generator:
    del modified  # part of the key: a file trained again is read again
    notes = header(path)
    try:
        architecture = Architecture.of_header(notes)
    except KeyError as error:
        raise ConfigError(
            f"expected the header of {path} to name widths, grid and channels, got one without {error}; train the "
            "generator again: networks of its kind are not built any more"
        ) from error
    if size != "null":
        architecture = architecture.resized(json.loads(size))
    with torch.inference_mode(False):  # a caller's inference mode must not mark weights that outlive it
        generator = Generator(architecture, {"kind": "gan", **notes, "grid": architecture.grid})
        try:
            generator.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ConfigError(
                f"expected the weights that the header of {path} describes, got others: {error}"
            ) from error
        return generator.to(device, dtype).eval().requires_grad_(False)
