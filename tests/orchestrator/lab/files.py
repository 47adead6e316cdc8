"""Campaign files of a furnace whose results people tell, for tests."""

from __future__ import annotations

from pathlib import Path

FURNACE = """\
name: Furnace
seed: 3
studies:
  anneal:
    space:
      kind: box
      parameters:
        temperature: {type: float, low: 600, high: 1000, unit: °C}
        hours: {type: integer, low: 1, high: 24, unit: h}
        gas: {type: categorical, choices: [argon, air]}
    driver: {kind: manual, ranges: {hardness: [0, 2000]}, instructions: Vickers HV10}
    strategy: STRATEGY
    objectives: {hardness: {direction: maximise, unit: HV}}
"""


def furnace(folder: Path, strategy: str = "space_filling") -> Path:
    """Write the campaign file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "furnace.yaml"
    path.write_text(FURNACE.replace("STRATEGY", strategy), encoding="utf-8")
    return path


ALLOY = """\
name: Alloy
studies:
  melt:
    space:
      kind: experiment
      parameters:
        temperature: {type: float, low: 600, high: 1000, step: 10, unit: °C}
        hours: {type: integer, low: 2, high: 24, step: 2}
        crucible: {type: categorical, choices: [alumina, graphite]}
        coating: {type: categorical, choices: [none, BN], when: {crucible: graphite}}
      mixtures:
        metal: {components: [Fe, Co, Ni], step: 0.05, at_most: 2, unit: mol}
      constraints: ["temperature <= 900 + 100 * Fe"]
    driver: manual
    strategy: space_filling
    objectives: {strength: {direction: maximise, unit: MPa}, cost_index: minimise}
"""


def alloy(folder: Path) -> Path:
    """Write a campaign file with mixtures, steps, conditions and a constraint."""
    path = folder / "alloy.yaml"
    path.write_text(ALLOY, encoding="utf-8")
    return path
