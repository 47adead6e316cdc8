"""What a campaign ran on, for its record."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from matloop.orchestrator.composition.config import Config

RECORDED_PACKAGES = (
    *("matloop", "numpy", "scipy", "torch", "botorch", "gpytorch", "scikit-learn", "deap", "optuna", "pymatgen"),
    *("mpi4py", "pydantic"),
)


def digest(file: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def record(config: Config) -> dict[str, Any]:
    """Campaign file, versions and machine; imports none of the packages."""
    return {
        "campaign_file": str(config.path.resolve()),
        "campaign_sha256": digest(config.path),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {name: _version(name) for name in RECORDED_PACKAGES},
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
