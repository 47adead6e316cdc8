"""A condition on a point that a user's own Python function decides."""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Point

PATH = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
"""What tells `module:function` from an expression."""


class Rule:
    """Holds where `module:function` called with the point says True.

    Args:
        text: its import path.
        folder: where modules are looked for besides the installed ones.

    Raises:
        ConfigError: it cannot be imported.
    """

    names: tuple[str, ...] = ()

    def __init__(self, text: str, folder: Path) -> None:
        self.text = text
        self._folder = folder
        self._function: Callable[[dict[str, Any]], Any] | None = self._load()

    def violation(self, point: Point) -> float:
        """0 where it holds, else 1; infinite where a number in it is too large to be computed, as in an expression.

        Raises:
            ConfigError: the function raised something else, or said neither True nor False.
        """
        if self._function is None:  # in another process
            self._function = self._load()
        try:
            held = self._function(dict(point))
        except OverflowError:
            return math.inf
        except Exception as error:
            raise ConfigError(
                f"constraint {self.text!r} raised {type(error).__name__}: {error}, at {dict(point)}; "
                "it must say True or False for every point, also where parameters are absent"
            ) from error
        if not isinstance(held, bool | np.bool_):
            raise ConfigError(f"expected constraint {self.text!r} to say True or False, got {held!r} at {dict(point)}")
        return 0.0 if held else 1.0

    def _load(self) -> Callable[[dict[str, Any]], Any]:
        module_name, _, name = self.text.partition(":")
        if str(self._folder) not in sys.path:
            sys.path.append(str(self._folder))
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the user's module raises
            raise ConfigError(
                f"constraint {self.text!r}: cannot import {module_name!r}: {type(error).__name__}: {error}; "
                f"modules are looked for among the installed ones and in {self._folder}"
            ) from error
        function = getattr(module, name, None)
        if not callable(function):
            raise ConfigError(f"constraint {self.text!r}: {module_name} has no function {name!r}")
        found: Callable[[dict[str, Any]], Any] = function
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_function": None}
