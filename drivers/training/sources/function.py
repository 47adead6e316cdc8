"""Data that a function of the user's returns."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.source import New, Options, plain

KEYS = ("x", "y", "ids", "groups", "parts", "time", "names", "problems")
"""Of the mapping that a function may return."""


@dataclass(frozen=True, kw_only=True)
class Function(Options):
    """What a function returns: `Data`, or a mapping with x, y and perhaps the other `KEYS`.

    If it has a parameter `new`, it is called with what is to be predicted there, and needs to return x and, if it
    likes, ids. Otherwise arrays (n, *input) can be predicted.

    Args:
        function: "module:name".
        arguments: keyword arguments.
    """

    kind: ClassVar[str] = "function"
    shared: ClassVar[bool] = False  # nobody knows what else it reads
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Data:
        """See `Source`."""
        found = self._called(**self.arguments)
        if isinstance(found, Data):
            return found
        if not isinstance(found, Mapping) or not {"x", "y"} <= {*found} <= {*KEYS}:
            got = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise ValueError(
                f"expected {self.function} to return a mapping with x, y and perhaps {', '.join(KEYS[2:])}, got {got}"
            )
        return data(**{"path": Path(self.function), **found})

    def inputs(self, new: Any) -> New:
        """See `Source`."""
        if "new" in inspect.signature(self._function()).parameters:
            found = self._called(**self.arguments, new=new)
            found = found if isinstance(found, Mapping) else {"x": found}
            x, ids = found["x"], found.get("ids")
        else:
            x, ids = np.asarray(new), None
        return New(x, np.asarray(np.arange(len(x)) if ids is None else ids).astype(np.str_))

    def files(self) -> list[Path]:
        """The function's own file, and its arguments that are files."""
        given = [Path(value) for value in self.arguments.values() if isinstance(value, str | Path)]
        own = inspect.getsourcefile(self._function())
        return [path for path in [*([Path(own)] if own else []), *given] if path.is_file()]

    def settings(self) -> dict[str, Any]:
        """See `Source`."""
        return {"kind": self.function, **self.stated()}

    def stated(self) -> dict[str, Any]:
        """The arguments."""
        return {name: plain(value) for name, value in self.arguments.items()}

    @property
    def name(self) -> str:
        """As the campaign file has it."""
        return self.function

    def _called(self, **arguments: Any) -> Any:
        return self._function()(**arguments)

    def _function(self) -> Any:
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)
