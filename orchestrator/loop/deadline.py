"""When a run has to have ended, in the words of the command line and of schedulers."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from matloop.orchestrator.errors import ConfigError

_UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def end_of_time(until: str | None, time_left: str | None, environment: Mapping[str, str]) -> float | None:
    """When this run has to have ended, as far as is known.

    Args:
        until: from the command line; see `moment`.
        time_left: from the command line; see `seconds`.
        environment: the process's; Slurm tells its jobs their end.

    Returns:
        Unix time, s, the earliest of those that are given; None if none is.

    Raises:
        ConfigError: not a time.
    """
    ends = [moment(until)] if until else []
    if time_left:
        ends.append(time.time() + seconds(time_left))
    if environment.get("SLURM_JOB_END_TIME", "").isdecimal():
        ends.append(float(environment["SLURM_JOB_END_TIME"]))
    return min(ends, default=None)


def moment(text: str) -> float:
    """Unix time, s, of `1795340000` or of local time in ISO format such as `2026-11-22T17:30`.

    Raises:
        ConfigError: not a time.
    """
    try:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ConfigError(
            f"expected a time such as 2026-11-22T17:30 or seconds since 1970, got {text!r}; a duration is --time-left"
        ) from None


def seconds(text: str) -> int:
    """Seconds in `1-12:00:00`, `12:00:00`, `90m`, `12h` or `2d`.

    Raises:
        ConfigError: not a duration.
    """
    if match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text):
        parts = [int(part or 0) for part in match.groups()]
        total = sum(part * unit for part, unit in zip(parts, _UNITS.values(), strict=True))
    elif match := re.fullmatch(r"(\d+)([dhms])", text):
        total = int(match.group(1)) * _UNITS[match.group(2)]
    else:
        total = 0
    if not total:
        raise ConfigError(f"expected a duration such as 12:00:00, 1-12:00:00, 90m or 12h, got {text!r}")
    return total
