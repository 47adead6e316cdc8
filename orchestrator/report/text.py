"""Numbers, times and names as a reader wants to see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from matloop.orchestrator.trial import Objective, Trial

SIGNS = {"below": "<", "above": ">"}
"""How it is written that a value is a limit only."""

ACRONYMS = frozenset({"mae", "mse", "rmse", "nll", "auc", "r2"})


def number(value: float) -> str:
    """Three significant digits; whole numbers in full; a true minus sign."""
    if not math.isfinite(value):
        return "–"
    if (value == round(value) and abs(value) < 1e15) or 1000 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    else:
        text = f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def spread(mean: float, std: float) -> str:
    """Mean ± standard deviation, both to the second significant digit of the latter."""
    if not (math.isfinite(std) and std > 0):
        return number(mean)
    decimals = 1 - math.floor(math.log10(std))
    if not 0 <= decimals <= 6:
        return f"{number(mean)} ± {number(std)}"
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}".replace("-", "−")


def percent(share: float, *, sign: bool = False, decimals: int = 0) -> str:
    """Share as percent with a thin space."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:{'+' if sign else ''}.{decimals}f}\u202f%".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(unix_s: float) -> str:
    """Unix time in s as UTC, to the second."""
    return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plural(n: int, one: str, many: str | None = None) -> str:
    """`3 trials`, `1 trial`, `no trials`."""
    word = one if n == 1 else (many or f"{one}s")
    return f"{n:,} {word}" if n else f"no {word}"


def name(objective: Objective) -> str:
    """Objective's name as words: `validation_mae` is validation MAE."""
    return " ".join(word.upper() if word in ACRONYMS else word for word in objective.name.split("_"))


def axis(objective: Objective) -> str:
    """Axis label with unit."""
    return f"{name(objective)} ({objective.unit})" if objective.unit else name(objective)


def value(objective: Objective, measured: float) -> str:
    """Measured value with unit."""
    return f"{number(measured)} {objective.unit}".rstrip()


def outcome(trial: Trial) -> str:
    """What came of a trial, in words, with as many digits as people write."""
    if trial.state == "cancelled":
        return "set aside" if trial.was_done else "not done"
    if trial.values is None:
        return f"failed ({trial.failure.message})" if trial.failure else "waiting for its result"
    written = (
        f"{name} {SIGNS.get(trial.censored.get(name, ''), '=')} {value:.7g}" for name, value in trial.values.items()
    )
    return clip(", ".join(written), 80)


def measured(objective: Objective, trial: Trial) -> str:
    """What was measured of an objective, with unit; a limit with its sign; empty if it is still to come."""
    if trial.values is None or objective.name not in trial.values:
        return ""
    sign = SIGNS.get(trial.censored.get(objective.name, ""), "")
    return f"{sign} {value(objective, trial.values[objective.name])}".strip()


def compact(point: Mapping[str, Any], limit: int = 160) -> str:
    """A point in one line, cut where it is too long to read."""
    text = ", ".join(f"{key} = {_short(item)}" for key, item in point.items())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _short(item: Any) -> str:
    if isinstance(item, bool) or not isinstance(item, int | float | list):
        return str(item)
    if isinstance(item, list):
        return "[" + ", ".join(_short(i) for i in item) + "]"
    return number(float(item))


def clip(text: str, limit: int) -> str:
    """Text cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
