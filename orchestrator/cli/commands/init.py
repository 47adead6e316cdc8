"""`matloop init`: a commented campaign file that runs as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from matloop.orchestrator.composition.drafting import DATA_TEMPLATES, draft, text
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.file import quoted

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
        raise ConfigError(f"there is no template {template!r}; {suggest(template, [*TEMPLATES, *DATA_TEMPLATES])}")
    source = files("matloop.orchestrator.cli.templates")
    contents = {file: source.joinpath(f"{template}.yaml").read_text(encoding="utf-8")}
    if python := TEMPLATES[template]:
        contents[file.parent / python] = source.joinpath(f"{template}.py").read_text(encoding="utf-8")
    _save(contents)
    return list(contents)


def write_for(data: Path | None, template: str, *, file: Path, target: str | None, minutes: float) -> list[str]:
    """Look at data and write a campaign file for them.

    Args:
        data: file or folder.
        template: one of `DATA_TEMPLATES`.
        file: to write.
        target: column to predict; None to choose one.
        minutes: of the search, > 0.

    Returns:
        What was found, what was written and what to do next, a line each.

    Raises:
        ConfigError: the data are missing or of another kind, or the file is already there.
    """
    if data is None:
        raise ConfigError(f"expected data for the template {template!r}: matloop init --template {template} DATA")
    if not minutes > 0:
        raise ConfigError(f"expected --minutes above 0, got {minutes}")
    _refuse_to_overwrite([file])
    found = draft(template, data, target, minutes)
    _save({file: text(found, file, data, minutes)})
    next_steps = [
        f"wrote {file}",
        f"next: matloop run {quoted(file)}   ({minutes:g} minutes)",
        f"then: matloop predict {quoted(file)} NEW",
    ]
    return [*found.found, *(f"note: {line}" for line in found.hints), *next_steps]


def _save(contents: dict[Path, str]) -> None:
    _refuse_to_overwrite(contents)
    try:
        encoded = {target: content.encode() for target, content in contents.items()}
    except UnicodeEncodeError as error:
        raise ConfigError(
            "expected data in a path that can be written as text, got bytes in it that are no characters; rename the "
            "folder or the file"
        ) from error
    for target, content in encoded.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            out.write(content)


def _refuse_to_overwrite(targets: list[Path] | dict[Path, str]) -> None:
    for target in targets:
        if target.exists():
            raise ConfigError(f"{target} is already there and is not overwritten; choose another folder or name")
