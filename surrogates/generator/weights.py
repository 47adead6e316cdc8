"""Trained generators as files: safetensors holding the weights, and in its header what they are and how they came."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from matloop.orchestrator.errors import ConfigError
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
    header = {"widths": generator.architecture.widths, **notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    save_file(tensors, path, metadata={HEADER: json.dumps(header, sort_keys=True)})


def locate(name_or_path: str | Path) -> Path:
    """File of a generator: a name among the shipped ones ("grf32", "pretrained/grf32") or a path.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path.resolve()
    shipped = SHIPPED / f"{path.name}.safetensors"
    if path.suffix == "" and path.parent in (Path(), Path("pretrained")) and shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors")))
    raise ConfigError(
        f"expected a generator's name ({names}) or an existing .safetensors file, got {str(name_or_path)!r}; "
        "train one with: python -m matloop.surrogates.generator.train --out FILE.safetensors",
        at="generator",
    )


def header(name_or_path: str | Path) -> dict[str, Any]:
    """What a generator's file says of itself: `widths`, and the notes given to `save`.

    Raises:
        ConfigError: no such file, or not one written by `save`.
    """
    path = locate(name_or_path)
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


def load(name_or_path: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Generator:
    """Build a trained generator, ready to render; it is shared by all who load it, and so to be left unchanged.

    Args:
        name_or_path: see `locate`.
        dtype: of weights and images; float64 for tests of gradients and acquisition functions.
        device: where to put it.

    Returns:
        Generator in evaluation mode whose weights ask for no gradient.
    """
    path = locate(name_or_path)
    return _load(path, path.stat().st_mtime_ns, dtype, torch.device(device))


@functools.lru_cache(maxsize=8)
def _load(path: Path, modified: int, dtype: torch.dtype, device: torch.device) -> Generator:
    del modified  # part of the key: a file trained again is read again
    with torch.inference_mode(False):  # a caller's inference mode must not mark weights that outlive it
        generator = Generator(Architecture(widths=tuple(header(path)["widths"])))
        try:
            generator.load_state_dict(load_file(path))
        except RuntimeError as error:
            raise ConfigError(
                f"expected the weights that the header of {path} describes, got others: {error}"
            ) from error
        return generator.to(device, dtype).eval().requires_grad_(False)
