"""Runs code as a user who owns nothing, and needs to enter neither the interpreter's folder nor this repository's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_CHILD = """
import contextlib, io, os, shutil, sys, tempfile
from pathlib import Path
{code}
path = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    use(Path(folder) / path.name)  # imports all that it needs while this process may
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
use(path)
"""


def as_a_stranger(code: str, path: Path) -> list[str]:
    """Lines that `use(path)`, which the code defines, prints."""
    child = [sys.executable, "-c", _CHILD.replace("{code}", code), str(path)]
    done = subprocess.run(child, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def folder_for_strangers() -> Path:
    """A new folder that others may reach: not in `tmp_path`, whose parents pytest closes to them."""
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        place = Path(parent).resolve()
        if place.is_dir() and all(one.stat().st_mode & 0o001 for one in (place, *place.parents)):
            return Path(tempfile.mkdtemp(dir=place))
    pytest.skip(f"others may not enter the folder for temporary files, {tempfile.gettempdir()}")
