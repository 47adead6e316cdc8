"""A network in one line: a chip for each layer, so that a lineage can be read at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from markupsafe import Markup

NORMALISATIONS = {"batch": "bn", "group": "gn"}


@dataclass(frozen=True, slots=True)
class Chip:
    """One layer or setting: its kind colours it."""

    kind: str
    label: str


def chips(genome: Mapping[str, Any]) -> list[Chip]:
    """Layers in order, then how features are read out and how the network is trained."""
    found = [Chip(str(layer.get("kind", "layer")), _layer(layer)) for layer in genome.get("layers", ())]
    if "readout" in genome:
        found.append(Chip("readout", f"{genome['readout']}{_dropout(genome)}"))
    if "padding" in genome:
        found.append(Chip("setting", f"{genome['padding']} padding"))
    training = genome.get("training")
    if isinstance(training, Mapping):
        found.append(Chip("setting", _training(training)))
    return found


def html(new: Sequence[Chip], old: Sequence[Chip] | None = None) -> Markup:
    """Chips as HTML; those that differ from `old` are marked, and settings that do not are left out."""
    same = set(range(len(new))) if old is None else set()
    if old is not None:
        matcher = SequenceMatcher(
            a=[(c.kind, c.label) for c in old], b=[(c.kind, c.label) for c in new], autojunk=False
        )
        for block in matcher.get_matching_blocks():
            same |= set(range(block.b, block.b + block.size))
    one = Markup('<span class="chip {}{}">{}</span>')
    known = ("conv", "pool", "dense", "readout", "setting")
    return Markup(" ").join(
        one.format(c.kind if c.kind in known else "setting", "" if i in same else " new", c.label)
        for i, c in enumerate(new)
        if old is None or c.kind != "setting" or i not in same
    )


def _layer(layer: Mapping[str, Any]) -> str:
    kind = layer.get("kind")
    if kind == "conv":
        k = layer.get("kernel", "?")
        words = [f"{k}×{k} · {layer.get('width', '?')}"]
        if layer.get("stride", 1) != 1:
            words.append(f"/{layer['stride']}")
        words.append(NORMALISATIONS.get(str(layer.get("normalisation")), ""))
        words.append(str(layer.get("activation", "")))
        if layer.get("skip"):
            words.append(f"↷{layer['skip']}")
        return " ".join(w for w in words if w) + _dropout(layer)
    if kind == "pool":
        return f"{layer.get('mode', 'pool')} {layer.get('size', '')}".strip()
    if kind == "dense":
        return f"dense {layer.get('width', '?')} {layer.get('activation', '')}".strip() + _dropout(layer)
    return " ".join([str(kind or "layer"), *(f"{key} {value}" for key, value in layer.items() if key != "kind")])


def _dropout(part: Mapping[str, Any]) -> str:
    return f" drop {part['dropout']:g}" if isinstance(part.get("dropout"), int | float) and part["dropout"] else ""


def _training(training: Mapping[str, Any]) -> str:
    words = [str(training.get("optimiser", ""))]
    if isinstance(training.get("learning_rate"), int | float):
        words.append(f"lr {training['learning_rate']:.2g}")
    if "batch" in training:
        words.append(f"batch {training['batch']}")
    return " ".join(w for w in words if w)
