"""The measurement of this campaign: replace the formula by your own simulation, instrument or experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def measure(point: Mapping[str, Any]) -> float:
    """Return the yield in per cent; an exception counts as a failed measurement, and the campaign goes on."""
    warm = math.exp(-(((point["temperature"] - 870) / 200) ** 2))
    slow = math.exp(-((math.log10(point["rate"]) + 1.7) ** 2))
    return 90 * warm * slow * (1.0 if point["solvent"] == "ethanol" else 0.7)
