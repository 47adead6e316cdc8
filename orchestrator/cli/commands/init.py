"""`matloop init`: a commented campaign file that runs as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import ConfigError

TEMPLATES = {"function": "measurement.py", "command": "simulation.py", "lab": None}
"""Templates, and the name under which each one's Python file, if it has one, is written."""


def write(file: Path, template: str) -> list[Path]:
    """Write a campaign file and the Python file that it measures with, if any, side by side.

    Returns:
        The files written.

    Raises:
        ConfigError: no such template, or a file is already there; nothing is overwritten.
    """
    if template not in TEMPLATES:
        raise ConfigError(f"there is no template {template!r}; {suggest(template, TEMPLATES)}")
    source = files("matloop.orchestrator.cli.templates")
    contents = {file: source.joinpath(f"{template}.yaml").read_text(encoding="utf-8")}
    if python := TEMPLATES[template]:
        contents[file.parent / python] = source.joinpath(f"{template}.py").read_text(encoding="utf-8")
    for target in contents:
        if target.exists():
            raise ConfigError(f"{target} is already there and is not overwritten; choose another folder or name")
    file.parent.mkdir(parents=True, exist_ok=True)
    for target, content in contents.items():
        with target.open("x", encoding="utf-8") as out:
            out.write(content)
    return list(contents)
