"""Predictions as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.bundles.meaning import Meaning

if TYPE_CHECKING:
    import pandas as pd

    from matloop.bundles.bundle import Answers, Mask


def of_answers(ids: npt.NDArray[np.str_], answers: Answers, meaning: Meaning) -> pd.DataFrame:
    """A row for each input; see `Bundle.predict`."""
    import pandas as pd

    columns: dict[str, Any] = {"id": ids}
    if answers.sets is not None:
        columns["class"] = np.array(meaning.names)[answers.values.argmax(axis=1)]
        columns |= {f"p_{name}": answers.values[:, j] for j, name in enumerate(meaning.names)}
        columns["set"] = [" ".join(np.array(meaning.names)[row]) for row in answers.sets]
    elif answers.lower is not None and answers.upper is not None and answers.std is not None:
        for j, name in enumerate(meaning.names):
            columns[name] = answers.values[:, j]
            columns[f"{name}_lower"], columns[f"{name}_upper"] = answers.lower[:, j], answers.upper[:, j]
            columns[f"{name}_std"] = answers.std[:, j]
    columns |= {"out_of_domain": answers.outside, "distance": answers.distance, "why": list(answers.why)}
    return pd.DataFrame(columns)


def of_masks(masks: Iterable[Mask], classes: Sequence[str]) -> pd.DataFrame:
    """A row for each array; see `Bundle.predict`."""
    return of_rows([row_of(mask, classes) for mask in masks], classes)


def of_rows(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> pd.DataFrame:
    """Rows that `row_of` made, with further columns after them where there are."""
    import pandas as pd

    names = ["id", *(f"area_{name}" for name in classes), "confidence", "out_of_domain", "distance"]
    return pd.DataFrame(rows, columns=[*names, *(name for name in (rows[0] if rows else ()) if name not in names)])


def row_of(mask: Mask, classes: Sequence[str]) -> dict[str, Any]:
    """One array's row."""
    shares = {f"area_{name}": share for name, share in zip(classes, mask.shares(len(classes)), strict=True)}
    confidence = float(mask.confidence.mean())
    far = {"out_of_domain": mask.distance > 1, "distance": mask.distance}
    return {"id": mask.id, **shares, "confidence": confidence, **far}
