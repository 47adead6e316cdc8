"""The page of a bundle for people: what it is, how good it is, how to use it, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matloop.bundles.intervals import basis


def page(card: Mapping[str, Any]) -> str:
    """Markdown of a card."""
    sections = [_title(card), _use(card), _scores(card), _trust(card), _limits(card), _data(card), _origin(card)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(card: Mapping[str, Any]) -> str:
    meaning, count = card["meaning"], len(card["members"])
    numbers = ", ".join(f"`{name}`" for name in meaning["names"])
    kind = f"orientation ({meaning['symmetry']} symmetry) as a quaternion" if meaning["symmetry"] else "class"
    what = numbers if meaning["mean"] else kind
    unit = f" in {meaning['unit']}" if meaning["unit"] else ""
    where = " of each place" if meaning["places"] else ""
    networks = "A network" if count == 1 else f"An ensemble of {count} networks"
    classes = "" if meaning["mean"] or meaning["symmetry"] else f" Classes: {', '.join(meaning['names'])}."
    return (
        f"# {card.get('campaign', 'A trained network')}\n\n{networks} that predicts the {what}{where}{unit}.{classes}"
    )


def _use(card: Mapping[str, Any]) -> str:
    first = card["members"][0]
    onnx = f", and `{first['onnx']}` any ONNX runtime," if first["onnx"] else ""
    return (
        "## Use\n```sh\nmatloop predict THIS_FOLDER NEW --output predictions.csv\n```\n"
        "```python\nimport matloop\n\nbundle = matloop.load_bundle('THIS_FOLDER')\nbundle.predict(new)   # a table\n"
        f"bundle.module         # a torch module that takes raw values\n```\n"
        f"Without matloop, torch reads `{first['source']}` with `{first['weights']}`{onnx} from raw values to the "
        "target's unit, or to logits of classes."
    )


def _scores(card: Mapping[str, Any]) -> str:
    test, unit = card["test"], card["meaning"]["unit"]
    rows = [(name, f"{s['value']:.4g}", f"{s['lower']:.4g} to {s['upper']:.4g}") for name, s in test["scores"].items()]
    note = f" Errors are in {unit}." if unit else ""
    text = (
        f"## Test\nOn {test['rows']} rows that were neither trained on nor chosen by.{note} Ranges hold 90 % of what "
        f"other test {'groups' if card['split'].get('groups') else 'rows'} would give (bootstrap).\n\n"
    )
    text += _table(("figure", "value", "range"), rows)
    if test["by_class"]:
        text += "\n\n" + _table(("class", "figure"), [(name, f"{v:.4g}") for name, v in test["by_class"].items()])
    return text


def _trust(card: Mapping[str, Any]) -> str:
    calibration, test = card["calibration"], card["test"]
    level = f"{100 * calibration['level']:.0f} %"
    lines = []
    for name, one in test["coverage"].items():
        share = f"{100 * one['share']:.1f} % ({100 * one['lower']:.1f} to {100 * one['upper']:.1f})"
        what = "Sets of classes hold the true one" if name == "set" else f"`{name}`: intervals hold the measurement"
        width = f"; they are {one['mean_width']:.4g} wide on average" if "mean_width" in one else ""
        lines.append(f"- {what} for {share} of the test rows, {level} being promised{width}.")
    rests = basis(calibration)
    groups = rests["groups"]
    lines.append(
        f"- Calibrated on {rests['rows']} validation rows"
        + (f" of {groups} groups, each group counting once" if groups is not None else "")
        + ("." if rests["promised"] else ", too few to promise the level for new ones.")
    )
    if "calibration_error" in test:
        lines.append(
            f"- Probabilities are off by {test['calibration_error']:.3g} on average on the test rows "
            f"(by {test['calibration_error_before']:.3g} before calibration)."
        )
    else:
        spread = {"dropout": "dropout", "ensemble": "the disagreement of its networks", "none": ""}[card["spread"]]
        used = bool(spread) and any(one["scale"] > 0 for one in calibration["intervals"])
        lines.append(f"- Widths follow {spread}." if used else "- Widths are the same everywhere.")
    return "## How sure\n" + "\n".join(lines)


def _limits(card: Mapping[str, Any]) -> str:
    return (
        "## Not for\nInputs that are unlike the training data. Every prediction comes with a distance from them. "
        "Beyond 1, the limit that 99 % of rows from the same source keep, it is flagged `out_of_domain`, and neither "
        "its value nor its interval can be relied on. An input that is within need not be right: what nobody measured, "
        "such as another instrument or another way of making samples, may not show in the inputs."
    )


def _data(card: Mapping[str, Any]) -> str:
    data, split = card["data"], card["split"]
    rows = [("rows", str(data["rows"])), ("left out", str(data["left_out"])), ("SHA-256", f"`{data['sha256']}`")]
    rows += [("source", f"`{card['source'].get('kind')}`"), ("groups", str(split["groups"] or "not known"))]
    rows += [(part, str(split[part])) for part in ("train", "validation", "test")]
    rows += [(name, f"`{value}`") for name, value in split["options"].items()]
    return "## Data\n" + _table(("", ""), rows)


def _origin(card: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = [(name, str(card[name])) for name in ("campaign", "study", "made") if name in card]
    rows.append(("trials", ", ".join(str(one["trial"]) for one in card["members"])))
    rows += [(f"{name} version", str(version)) for name, version in card.get("versions", {}).items()]
    return (
        "## Origin\n" + _table(("", ""), rows) + "\n\n`card.json` has all of this for machines, with the genomes, and "
        "`test_predictions.npz` what was measured and predicted of each test row."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
