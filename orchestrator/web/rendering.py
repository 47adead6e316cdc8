"""Templates and the words that they use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.report.text import ACRONYMS, SIGNS
from matloop.orchestrator.trial import Objective, Trial


def words(name: str) -> str:
    """A name as words: `annealing_time` is annealing time."""
    return " ".join(word.upper() if word in ACRONYMS else word for word in name.split("_"))


def sentence(text: str) -> str:
    """Text with a capital letter and a full stop."""
    text = text.strip()
    return text if not text else text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def conditions(when: Mapping[str, Sequence[Any]]) -> str:
    """Conditions on other inputs: `solvent DMF or water`."""
    return ", ".join(f"{words(name)} {' or '.join(map(str, values))}" for name, values in when.items())


def measured(trial: Trial, objective: Objective) -> str:
    """A measured value as somebody may type it; empty if there is none."""
    value = (trial.values or {}).get(objective.name)
    sign = SIGNS.get(trial.censored.get(objective.name, ""), "")
    return "" if value is None else f"{sign} {value}".strip()


def code(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters.update(
    words=words, sentence=sentence, conditions=conditions, shown=shown, code=code, measured=measured
)


def page(template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """A rendered template."""
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(**content), status)


def error(title: str, message: str, status: int) -> HTMLResponse:
    """A page that says what is wrong."""
    return page("error.html", status, title=title, message=message)
