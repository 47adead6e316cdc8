"""A user's own Python function as a driver: the shortest way from a measurement to a campaign."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.interruption import GRACE_S
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.orchestrator.workplace import TRIAL_FOLDER, Keep, prepared


class Function:
    """Calls `f(point)`, or `f(point, trial)` if it has a parameter of that name.

    The function returns a float (the study's only objective), a mapping from names to numbers, or a Measurement;
    an exception becomes a failed trial. Its objectives are named in the campaign file.

    `trial.folder` is a folder of the trial's own with what earlier attempts left there. It is made when it is asked
    for, and MATLOOP_TRIAL_FOLDER in the environment is its path then; before the call if the function's file names that
    variable or `subprocess`. Where the evaluation is to end, `matloop.Interrupted` is raised in the function, or its
    own handler for SIGTERM is called: it can save there what it has. What it returns then still counts.

    Args:
        path: `package.module:function`, or `file.py:function` with the file relative to the campaign file.
        repeatable: whether calling it again at the same point is harmless; only then is a crash retried.
        grace_s: how long it may go on after that, s; then it is killed.
        keep: which trials' folders stay once they are answered: those of failed trials, all, or none. What is empty
            never does.
        folder: where relative files and modules are looked for, after the installed ones.

    Raises:
        ConfigError: it cannot be imported, or does not take a point.
    """

    objectives: tuple[Objective, ...] = ()

    def __init__(
        self,
        *,
        path: str,
        repeatable: bool = True,
        grace_s: float = GRACE_S,
        keep: Keep = "failed",
        folder: Path | None = None,
    ) -> None:
        if not grace_s >= 0:
            raise ConfigError(f"grace_s: expected at least 0, got {grace_s}", at="grace_s")
        self.path = path
        self.repeatable, self.grace_s, self.keep = repeatable, grace_s, keep
        self.folder = Path(folder) if folder is not None else Path.cwd()
        resolve(path, self.folder)

    def __call__(self, trial: Trial) -> Measurement | Mapping[str, float] | float:
        """Call the function with a copy of the trial's point."""
        function, wants_trial = resolve(self.path, self.folder)
        if looks_for_folder(function):
            prepared(trial.workplace)
        point = dict(trial.point)
        result: Measurement | Mapping[str, float] | float
        result = function(point, trial=trial) if wants_trial else function(point)
        return result


@functools.cache
def resolve(path: str, folder: Path) -> tuple[Callable[..., Any], bool]:
    """Import the function; also say whether it takes the trial.

    Raises:
        ConfigError: see `Function`.
    """
    source, _, name = path.rpartition(":")
    if not source or not name.isidentifier():
        raise ConfigError(f"path: expected 'module:function' or 'file.py:function', got {path!r}", at="path")
    module = _import_file(folder / source) if source.endswith(".py") else _import_module(source, folder)
    function = getattr(module, name, None)
    if function is None:
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
        raise ConfigError(f"path: {source} has no function {name!r}; it has {', '.join(own) or 'none'}", at="path")
    if not callable(function):
        raise ConfigError(f"path: expected {path!r} to be a function, got a {type(function).__name__}", at="path")
    return function, _wants_trial(function, path)


@functools.cache
def looks_for_folder(function: Callable[..., Any]) -> bool:
    """Whether it may find the trial's folder through the environment, itself or in a program that it starts.

    Making a folder for every call of a function that has no use for it would cost more than many such calls.
    """
    try:
        source = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError):  # there is none to be read
        return True
    return TRIAL_FOLDER in source or "subprocess" in source


def _wants_trial(function: Callable[..., Any], path: str) -> bool:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have none
        return False
    wants_trial = "trial" in signature.parameters
    try:
        signature.bind({}, **({"trial": None} if wants_trial else {}))
    except TypeError as error:
        raise ConfigError(
            f"path: expected {path!r} to be called as f(point) or f(point, trial): {error}", at="path"
        ) from error
    return wants_trial


def _import_module(name: str, folder: Path) -> ModuleType:
    _search(folder)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        hint = f"; modules are looked for among the installed ones and in {folder}"
        raise ConfigError(f"path: cannot import {name!r}: {_cause(error)}{hint}", at="path") from error


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"path: there is no file {file}; give it relative to the campaign file", at="path")
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"{file.stem}_{digest}"  # its own name, so that no installed module is hidden or taken for it
    if name in sys.modules:
        return sys.modules[name]
    _search(file.parent)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"path: importing {file} failed: {_cause(error)}", at="path") from error
    return module


def _search(folder: Path) -> None:
    """Look for modules in the folder too, last, so that nothing installed is hidden."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _cause(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    where = f" ({users[-1].filename}, line {users[-1].lineno})" if users else ""
    if isinstance(error, SystemExit):
        return f'it calls sys.exit{where}; put what it does as a script under `if __name__ == "__main__":`'
    return f"{type(error).__name__}: {error}{where}"
