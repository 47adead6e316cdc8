"""The report in a browser: no wider than the screen, no complaint, its pictures there and sharp, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.report import write
from tests.orchestrator.report.synthetic_campaign import Writer
from tests.orchestrator.report.test_report_structures import fields, measure, part, spectrum

PICTURE = ".drawing svg image, .picture img"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the report of a design with all that it can show."""
    folder = tmp_path_factory.mktemp("design")
    both = {"absorption": {"direction": "maximise", "unit": ""}, "stiffness": {"direction": "maximise", "unit": "GPa"}}
    studies = {
        "sample": part("random"),
        "design": part("gradient_ascent", baseline="sample", bound="free", marks={"best of 2,000 random": 0.75}),
        "free": part("topology_optimisation"),
        "trade": part("bayesian") | {"objectives": both},
    }
    writer = Writer(folder, studies)
    for i, array in enumerate(fields(22)):
        measure(writer, "sample", 0.5 + 0.01 * i, array, spectrum=spectrum([0.4 + 0.01 * i] * 3))
    gradient: dict[str, Any] = {"extra": {"gradient": True}, "cost": 1.5}
    for i, array in enumerate(fields(8, seed=1)):
        broken = {"violations": {"smallest_feature": 12.5}} if i % 3 == 0 else {}
        measure(writer, "design", 0.6 + 0.03 * i, array, spectrum=spectrum([0.7, 0.8, 0.9]), info=broken, **gradient)
        done = {"absorption": 0.5 + 0.05 * i, "stiffness": 9.0 - i}
        writer.answer(writer.propose("trade"), done, artifacts={"microstructure": writer.store.save(array)})
    measure(writer, "free", 0.9, fields(1, seed=2)[0])
    writer.ledger.close("finished")
    return write(folder).as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1180, "dark")])
def test_it_fits_the_screen(browser: Any, report: str, width: int, scheme: str) -> None:
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    pictures = page.eval_on_selector_all(PICTURE, "found => found.map(e => e.getBoundingClientRect().width)")
    assert len(pictures) > 12 and min(pictures) > 60
    colours = page.eval_on_selector_all("main text", "found => found.map(e => getComputedStyle(e).fill)")
    light = np.mean([np.mean([int(n) for n in c.removeprefix("rgb(").removesuffix(")").split(",")]) for c in colours])
    assert (light > 128) == (scheme == "dark")
    page.close()


def test_the_tiled_picture_has_the_structures_pixels(browser: Any, report: str, tmp_path: Path) -> None:
    """Seen from the screen: the middle of each pixel of the middle period."""
    from matplotlib.image import imread

    page = browser.new_context(viewport={"width": 1180, "height": 900}, device_scale_factor=2).new_page()
    page.goto(report)
    page.locator(".drawing svg image").first.screenshot(path=tmp_path / "seen.png")
    seen = imread(tmp_path / "seen.png")[..., 0]
    best = fields(8, seed=1)[7]
    expected = np.tile(best, (3, 3))
    height, width = seen.shape
    rows, columns = (((np.arange(16) + 16.5) / 48 * side).astype(int) for side in (height, width))
    inner = slice(1, -1)  # the frame of the period lies on its outermost pixels
    found = seen[np.ix_(rows, columns)][inner, inner] > 0.5
    assert np.array_equal(found, expected[16:32, 16:32][inner, inner].astype(bool))
    page.close()
