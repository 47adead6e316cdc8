"""What of a campaign must stay the same when it goes on, and how two differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.plain import as_recorded
from matloop.orchestrator.references import is_of_references


def appeared(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What the campaign was, had the files been there that have come since: what was absent can have shaped nothing."""
    files = {**after.get("files", {}), **before.get("files", {})}
    return {**before, "files": files} if files else dict(before)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a campaign that must not change on resume: all but where it runs, how long, and what it is held
    against."""
    same = {key: value for key, value in config.items() if key not in ("executor", "studies")}
    free = ("budget", "limits", "attempts", "reference", "bound", "marks")
    studies = {name: study for name, study in config.get("studies", {}).items() if not is_of_references(study)}
    same["studies"] = {
        name: {key: value for key, value in study.items() if key not in free} for name, study in studies.items()
    }
    found: dict[str, Any] = as_recorded(same)
    return found


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Unified diff of the identities; empty if they agree."""
    before = appeared(before, after)
    if identity(before) == identity(after):
        return ""
    old, new = (json.dumps(identity(c), indent=2, ensure_ascii=False).splitlines() for c in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "ledger", "campaign file", lineterm="", n=2))
