"""The artifact `test_predictions`: what was measured and predicted for each row of the test part, by its id."""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # or equal predictions would not be equal bytes


class Predictions(NamedTuple):
    """Rows of a test part.

    Attributes:
        ids: (k,) str, as `Data.ids`.
        measured: (k, ...) the targets, in their own unit, or numbers of classes.
        predicted: (k, ...) likewise.
    """

    ids: npt.NDArray[np.str_]
    measured: npt.NDArray[Any]
    predicted: npt.NDArray[Any]

    def to_bytes(self) -> bytes:
        """Content of an .npz with these three arrays."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, array in self._asdict().items():
                content = io.BytesIO()
                np.save(content, array, allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", _LONG_AGO), content.getvalue())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Predictions:
        """What `to_bytes` made.

        Raises:
            ValueError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return cls(file["ids"], file["measured"], file["predicted"])
        except (KeyError, TypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"expected test predictions, an .npz of ids, measured and predicted: {error}") from error
