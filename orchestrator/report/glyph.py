"""A network in one line: a chip for each layer, so that a lineage can be read at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from markupsafe import Markup

NORMALISATIONS = {"batch": "bn", "group": "gn", "layer": "ln"}
TRAINING = {
    "learning_rate": "lr",
    "weight_decay": "decay",
    "batch": "batch",
    "loss": "loss",
    "warm_up": "warm-up",
    "final_rate": "to",
    "gradient_norm": "clip",
    "averaging": "averaged",
    "augmentation": "augmented",
}
LEGENDS = {
    None: "↷ s: adds the output of the layer s places earlier.",
    "segmentation": (
        "↓ and ↑: the way into a level of half the resolution and back; ↷: how what the encoder had joins in. "
        "The decoder repeats the encoder's convolutions."
    ),
    "graph": "A message layer gives the kind of message, how a node gathers them, and its width; ↷: adds its input.",
}


@dataclass(frozen=True, slots=True)
class Chip:
    """One layer or setting: its kind colours it."""

    kind: str
    label: str


def is_network(point: Mapping[str, Any]) -> bool:
    """Whether the point is a genome: a list of layers or levels, and how they are trained."""
    stacked = any(isinstance(point.get(key), list | tuple) for key in ("layers", "levels"))
    return stacked and isinstance(point.get("training"), Mapping)


def legend(genome: Mapping[str, Any]) -> str:
    """What the signs on its chips mean."""
    return LEGENDS.get(genome.get("family"), "")


def chips(genome: Mapping[str, Any]) -> list[Chip]:
    """Layers in order, then how features are read out and how the network is trained."""
    families = {"segmentation": _segmentation, "graph": _graph}
    found = list(families.get(str(genome.get("family")), _sequence)(genome))
    if "padding" in genome:
        found.append(Chip("setting", f"{genome['padding']} padding"))
    training = genome.get("training")
    if isinstance(training, Mapping):
        found.append(Chip("setting", _training(training)))
    return found


def html(new: Sequence[Chip], old: Sequence[Chip] | None = None) -> Markup:
    """Chips as HTML; with `old`, those that changed are marked, lost ones deleted, and unchanged settings left out."""
    if old is None:
        return Markup(" ").join(_html(chip) for chip in new)
    found: list[Markup] = []
    for same, before, after in _steps(old, new):
        if same:
            found += [_html(chip) for chip in after if chip.kind != "setting"]
        else:
            found += [_html(chip, tag="del") for chip in _lost(before, after)]
            found += [_html(chip, " new") for chip in after]
    return Markup(" ").join(found)


def _html(chip: Chip, state: str = "", tag: str = "span") -> Markup:
    known = ("conv", "pool", "dense", "readout")
    kind = chip.kind if chip.kind in known else "setting"
    return Markup('<{0} class="chip {1}{2}">{3}</{0}>').format(tag, kind, state, chip.label)


def _steps(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[bool, Sequence[Any], Sequence[Any]]]:
    """Runs of old and new items that correspond, and whether they are the same."""
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        yield tag == "equal", old[a:b], new[c:d]


def _lost(old: Sequence[Chip], new: Sequence[Chip]) -> list[Chip]:
    """Old chips that no new one of their kind replaces."""
    kinds = SequenceMatcher(a=[chip.kind for chip in old], b=[chip.kind for chip in new], autojunk=False)
    replaced = {i for a, _, size in kinds.get_matching_blocks() for i in range(a, a + size)}
    return [chip for i, chip in enumerate(old) if i not in replaced]


def _sequence(genome: Mapping[str, Any]) -> Iterator[Chip]:
    """Convolutions of one to three dimensions or dense layers, one after another."""
    axes = len(genome["input"]) - 1 if "input" in genome else 2
    for layer in genome.get("layers", ()):
        kind = str(layer.get("kind", "layer"))
        if kind == "conv":
            yield Chip(kind, _block(f"{_kernel(layer, axes)} · {layer.get('width', '?')}", layer))
        elif kind == "pool":
            yield Chip(kind, f"{layer.get('mode', 'pool')} {layer.get('size', '')}".strip())
        elif kind == "residual":
            what = _kernel(layer, axes) if "kernel" in layer else "dense"
            label = f"{layer.get('blocks', '?')} residual {what} · {layer.get('width', '?')}"
            yield Chip("conv" if "kernel" in layer else "dense", _block(label, layer))
        elif kind == "dense":
            yield Chip(kind, _block(f"dense {layer.get('width', '?')}", layer))
        else:
            words = (f"{key} {value}" for key, value in layer.items() if key != "kind")
            yield Chip(kind, " ".join([kind, *words]))
    if label := _block(str(genome.get("readout", "")), {"dropout": genome.get("dropout")}):
        yield Chip("readout", label)


def _segmentation(genome: Mapping[str, Any]) -> Iterator[Chip]:
    """The stem, then each level after the ways into and out of it."""
    axes = len(genome["input"]) - 1 if "input" in genome else 2
    yield _convolutions(genome["stem"], axes)
    for level in genome["levels"]:
        ways = f"↓{level['downsampling']} ↑{level['upsampling']}"
        yield Chip("pool", _block(ways, {"skip": level["skip"]}))
        yield _convolutions(level, axes)
    columns = genome.get("hypercolumns", 0)
    readout = f"hypercolumns {columns}" if columns else "pixels"
    yield Chip("readout", _block(readout, {"dropout": genome.get("dropout")}))


def _convolutions(block: Mapping[str, Any], axes: int) -> Chip:
    count = f"{block['convolutions']} " if block["convolutions"] > 1 else ""
    genes = {**block, "skip": None}  # that of a level belongs to the way out of it
    return Chip("conv", _block(f"{count}conv {_kernel(block, axes)} · {block['width']}", genes))


def _graph(genome: Mapping[str, Any]) -> Iterator[Chip]:
    """What nodes are embedded in, message layers, pooling over nodes, and the dense head."""
    yield Chip("dense", f"embed {genome['embedding']}")
    for layer in genome["layers"]:
        yield Chip("conv", _block(f"{layer['message']}, {layer['aggregation']} · {layer['width']}", layer))
    yield Chip("readout", f"{genome['pooling']} over nodes")
    for layer in genome["head"]:
        yield Chip("dense", _block(f"dense {layer['width']}", layer))
    if label := _block("", {"dropout": genome.get("dropout")}):
        yield Chip("readout", label)


def _kernel(layer: Mapping[str, Any], axes: int) -> str:
    """`5`, `5×5` or `5×5×5`."""
    return "×".join([str(layer.get("kernel", "?"))] * axes)


def _block(what: str, genes: Mapping[str, Any]) -> str:
    """What it is, then the genes that layers of all families share."""
    words = [what]
    if genes.get("stride", 1) != 1:
        words.append(f"/{genes['stride']}")
    words.append(NORMALISATIONS.get(str(genes.get("normalisation")), ""))
    words.append(str(genes.get("activation", "")))
    skip = genes.get("skip")
    if skip and skip != "none":
        words.append("↷" if skip is True else f"↷{skip}")
    if dropout := genes.get("dropout"):
        words.append(f"drop {dropout:g}")
    return " ".join(word for word in words if word)


def _training(training: Mapping[str, Any]) -> str:
    words = [str(training.get("optimiser", ""))]
    for gene, word in TRAINING.items():
        value = training.get(gene)
        if isinstance(value, str):
            words.append(f"{word} {value.replace('_', ' ')}")
        elif isinstance(value, int | float):
            words.append(f"{word} {value:.4g}")
    return " ".join(w for w in words if w)
