"""Predictions as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.bundles.meaning import Meaning

if TYPE_CHECKING:
    import pandas as pd

    from matloop.bundles.answers import Answers, Field, Mask


def of_answers(ids: npt.NDArray[np.str_], answers: Answers, meaning: Meaning) -> pd.DataFrame:
    """A row for each input; see `Bundle.predict`."""
    import pandas as pd

    columns: dict[str, Any] = {"id": [legible(one) for one in ids]}
    if answers.sets is not None:
        columns["class"] = np.array(meaning.names)[answers.values.argmax(axis=1)]
        columns |= {f"p_{name}": answers.values[:, j] for j, name in enumerate(meaning.names)}
        columns["set"] = ["; ".join(np.array(meaning.names)[row]) for row in answers.sets]
    elif answers.within is not None:
        columns |= {name: answers.values[:, j] for j, name in enumerate(meaning.names)}
        columns["within_degrees"] = answers.within
    elif answers.lower is not None and answers.upper is not None and answers.std is not None:
        for j, name in enumerate(titles(meaning.names)):
            columns[name] = answers.values[:, j]
            columns[f"{name}_lower"], columns[f"{name}_upper"] = answers.lower[:, j], answers.upper[:, j]
            columns[f"{name}_std"] = answers.std[:, j]
    columns |= {"out_of_domain": answers.outside, "distance": answers.distance, "why": list(answers.why)}
    return pd.DataFrame(columns)


def titles(targets: Sequence[str]) -> list[str]:
    """Titles of the columns of targets: their names, after `predicted ` where another column is called so."""
    used, found = {"id", "out_of_domain", "distance", "why"}, []
    for target in targets:
        title = target
        while used & (own := {title, *(f"{title}_{what}" for what in ("lower", "upper", "std"))}):
            title = f"predicted {title}"
        used |= own
        found.append(title)
    return found


def of_masks(masks: Iterable[Mask | tuple[Mask, Path]], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each mask, perhaps with the file that it is in; see `Bundle.predict`."""
    names = ["id", *(f"area_{name}" for name in classes), "confidence", "out_of_domain", "distance"]
    return _frame([_row(one, "mask", lambda mask: row_of(mask, classes)) for one in masks], names)


def of_fields(fields: Iterable[Field | tuple[Field, Path]], targets: Sequence[str]) -> pd.DataFrame:
    """A row for each field, perhaps with the file that it is in; see `Bundle.predict`."""
    names = ["id", *(f"{t}_{what}" for t in targets for what in ("mean", "min", "max")), "out_of_domain", "distance"]
    return _frame([_row(one, "field", lambda field: row_of_field(field, targets)) for one in fields], names)


def legible(name: str) -> str:
    """A name as UTF-8 can hold it; those of files may have other bytes, which become such as `\\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def row_of(mask: Mask, classes: Sequence[str]) -> dict[str, Any]:
    """One mask's row."""
    shares = {f"area_{name}": share for name, share in zip(classes, mask.shares(len(classes)), strict=True)}
    confidence = float(mask.confidence.mean())
    far = {"out_of_domain": mask.distance > 1, "distance": mask.distance}
    return {"id": legible(mask.id), **shares, "confidence": confidence, **far}


def row_of_field(field: Field, targets: Sequence[str]) -> dict[str, Any]:
    """One field's row."""
    row: dict[str, Any] = {"id": legible(field.id)}
    for name, values in zip(targets, field.values, strict=True):
        row |= {f"{name}_mean": float(values.mean()), f"{name}_min": float(values.min())}
        row[f"{name}_max"] = float(values.max())
    return row | {"out_of_domain": field.distance > 1, "distance": field.distance}


def _row(one: Any, column: str, make: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The row of something that may come with its file."""
    return make(one[0]) | {column: legible(str(one[1]))} if isinstance(one, tuple) else make(one)


def _frame(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=[*names, *(name for name in (rows[0] if rows else ()) if name not in names)])
