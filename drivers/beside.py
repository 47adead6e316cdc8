"""What a program will miss in its working folder: a program that is not there, modules that lie beside a script."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path


def missing(arguments: Sequence[str], files: Sequence[Path], written: Sequence[str]) -> list[str]:
    """A line for each thing that will probably be missed.

    Args:
        arguments: the program and what it is given, templates not filled in.
        files: that lie in its working folder, absolute.
        written: names of files that are written there for each trial.
    """
    there = {*(file.name for file in files), *written}
    found = list(_program(arguments[0], there)) if arguments and "{" not in arguments[0] else []
    for argument in arguments[1:]:
        plain = argument.endswith(".py") and "{" not in argument and not Path(argument).is_absolute()
        if plain and argument not in there:
            found.append(f"{argument} is not in the working folder; name it in `files`")
    for file in files:
        if file.suffix == ".py":
            found += [
                f"{file.name} imports {name}, which lies beside it and will not be in the working folder; "
                f"add {name} to `files`"
                for name in _beside(file)
                if name not in there
            ]
    return list(dict.fromkeys(found))


def _program(name: str, there: set[str]) -> Iterator[str]:
    if name.startswith("./"):
        if name[2:] not in there:
            yield f"{name[2:]} is not in the working folder; name it in `files`"
    elif shutil.which(name) is None:
        yield f"the program {name!r} is not found on this machine; workers on another one may have it"


def _beside(file: Path) -> list[str]:
    """Names of the files and folders beside a script that it imports."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    names = [
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom)
            else []
        )
    ]  # fmt: skip
    places = [place for name in dict.fromkeys(names) if name for place in (f"{name}.py", name)]
    return [place for place in places if (file.parent / place).exists()]
