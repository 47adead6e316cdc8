"""What one needs to repeat the campaign: its file as resolved, the environment, and when it ran."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Details, Section, Table


def sections(history: History) -> list[Section]:
    """Sessions, environment and campaign file of the last session."""
    if not history.sessions:
        return []
    last = history.sessions[-1]
    found = [Section("Sessions", (_sessions(history),))]
    if last.environment:
        rows = list(_flat(last.environment))
        found.append(Section("Environment", (Table(("", ""), rows, "ll", "Of the last session."),)))
    changed = sum(a.config != b.config for a, b in zip(history.sessions, history.sessions[1:], strict=False))
    title = "The campaign file, as resolved" + (f" (changed {text.plural(changed, 'time')})" if changed else "")
    config = json.loads(json.dumps(last.config, default=str))
    body = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    found.append(Section("Campaign file", (Details(title, body),)))
    return found


def _sessions(history: History) -> Table:
    rows = [
        (
            str(i),
            text.moment(s.opened_at),
            text.duration(max(0.0, s.last_at - s.opened_at)),
            s.ended or ("still open, or killed" if i == len(history.sessions) else "killed"),
        )
        for i, s in enumerate(history.sessions, start=1)
    ]
    shown = rows if len(rows) <= 20 else [*rows[:3], ("…", "", "", ""), *rows[-16:]]
    return Table(("", "began", "ran for", "ended"), shown, "rlrl", "Each start of the manager; later ones resumed.")


def _flat(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in environment.items():
        if isinstance(value, Mapping):
            value = [f"{name} {one}" for name, one in value.items()]
        yield key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)
