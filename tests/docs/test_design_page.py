"""The page on design: its YAML is valid, its defaults are those of the code, its campaign is the one that ships."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from matloop.orchestrator.composition.binding import KINDS
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.protocols import differentiates
from matloop.orchestrator.strategies.design.ascent import GradientAscent
from matloop.orchestrator.strategies.design.image_model import ImageModel
from matloop.orchestrator.strategies.design.inverse_design import InverseDesign

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design-strategies.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)]


def completed(block: dict[str, Any]) -> dict[str, Any]:
    """A campaign with the fragment in its place."""
    if "studies" in block:
        return block
    if "strategy" in block:
        block = {"study": {"space": {"kind": "latent"}, "driver": {"kind": "optics"}, "budget": {"trials": 3}, **block}}
    return {"name": "page", "studies": block}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: next(iter(block)))
def test_its_yaml_is_valid(block: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(completed(block), sort_keys=False))
    assert validate(load(tmp_path / "campaign.yaml"))


def test_its_strategies_are_there_and_need_what_it_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for kind, needs in rows:
        module, _, name = KINDS["strategy"][kind].partition(":")
        found = getattr(__import__(module, fromlist=[name]), name)
        assert differentiates(found) is needs.startswith("gradients")


def test_the_defaults_that_it_shows_are_the_defaults() -> None:
    for kind, shown in ((GradientAscent, BLOCKS[1]["strategy"]), (ImageModel, BLOCKS[2]["strategy"])):
        parameters = inspect.signature(kind.__init__).parameters
        for name in {*shown} - {"kind", "symmetric"}:
            assert parameters[name].default == shown[name]
    assert inspect.signature(InverseDesign.__init__).parameters["like_data"].default == 0.95


def test_the_campaign_that_ships_is_valid() -> None:
    studies, _ = validate(load(ROOT / "campaigns" / "absorber_design.yaml"))
    assert [study.name for study in studies] == ["random", "design", "bound", "check"]
