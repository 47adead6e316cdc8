"""What really happened, written down outside of the run's folder by whoever did it: one synced line an entry."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

_sync = os.fsync  # which another may come to stand in for


def note(path: Path, what: str, **details: Any) -> None:
    """Append an entry; it is on the disk when this returns."""
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.time(), **details}).encode() + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line)
        _sync(file)
    finally:
        os.close(file)


def entries(path: Path, what: str = "") -> list[dict[str, Any]]:
    """All entries, or those of one kind, in order."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    found = [json.loads(line) for line in lines if line.endswith(b"}")]
    return [entry for entry in found if not what or entry["what"] == what]
