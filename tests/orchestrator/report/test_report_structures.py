"""What the report says of microstructures, against counts by hand, and that it needs none of what may be missing."""

from __future__ import annotations

import base64
import io
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import structures, summary, write
from matloop.orchestrator.report.content import Figure, Gallery, Prose, Section, Table
from matloop.orchestrator.report.likeness import Curve, likeness
from matloop.orchestrator.report.sections import again, pareto, progress, winner
from matloop.orchestrator.report.sections import likeness as like
from matloop.orchestrator.report.study import Study, random_of, studies
from matloop.orchestrator.strategies.design.likeness import Likeness as Limits
from matloop.orchestrator.trial import Objective, Trial
from tests.orchestrator.report.synthetic_campaign import Writer
from tests.orchestrator.report.test_report_page import parse

UP = {"direction": "maximise", "unit": ""}
OPTICS = {"kind": "optics", "order": 1, "period_nm": [400.0, 800.0], "thickness_nm": 150.0}


def part(kind: str, driver: Any = OPTICS, **more: Any) -> dict[str, Any]:
    """A study of a campaign file, as it is on record."""
    return {
        "space": {"kind": "latent", "generator": "grf32"},
        "driver": driver,
        "strategy": {"kind": kind},
        "objectives": {"absorption": UP},
        "budget": {"trials": 9},
        **more,
    }


def fields(n: int, shape: tuple[int, ...] = (16, 16), seed: int = 0) -> np.ndarray:
    """Smooth periodic noise, cut at zero."""
    rng = np.random.default_rng(seed)
    waves = [np.minimum(np.arange(side), side - np.arange(side)) for side in shape]
    decay = np.exp(-sum(np.square(wave) for wave in np.ix_(*waves)) / 6.0)
    axes = tuple(range(1, 1 + len(shape)))
    noise = np.fft.fftn(rng.standard_normal((n, *shape)), axes=axes)
    return (np.fft.ifftn(noise * decay, axes=axes).real > 0).astype(np.uint8)


def spectrum(absorption: list[float]) -> np.ndarray:
    """As the driver leaves it."""
    a = np.array(absorption)
    return np.column_stack([[500.0, 600.0, 700.0], 0.6 * (1 - a), 0.4 * (1 - a), a])


def measure(writer: Writer, study: str, value: float, array: np.ndarray | None = None, **options: Any) -> Trial:
    extra, info, cost = (options.pop(name, default) for name, default in (("extra", {}), ("info", {}), ("cost", None)))
    artifacts = {} if array is None else {"microstructure": writer.store.save(array)}
    artifacts |= {name: writer.store.save(content) for name, content in options.items()}
    trial = writer.propose(study, extra=extra)
    return writer.answer(trial, {"absorption": value}, artifacts=artifacts, info=info, cost=cost)


def opened(directory: Path) -> tuple[Any, dict[str, Study], ArtifactStore]:
    history = read(directory / "ledger.db")
    return history, {study.name: study for study in studies(history)}, ArtifactStore(directory / "artifacts")


def of_kind(section: Section | None, kind: type) -> list[Any]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, kind)]


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """Thirty random structures, and a design whose best is one more of them, turned by half a period."""
    writer = Writer(tmp_path, {"sample": part("random"), "design": part("bayesian", baseline="sample")})
    arrays = fields(31)
    for i, array in enumerate(arrays[:30]):
        measure(writer, "sample", 0.5 + 0.001 * i, array, spectrum=spectrum([0.01 * i, 0.02 * i, 0.5]))
    measure(writer, "design", 0.6, arrays[3], spectrum=spectrum([0.1, 0.1, 0.1]))
    measure(writer, "design", 0.9, np.roll(arrays[30], 8, axis=1), spectrum=spectrum([0.14, 0.1, 0.9]))
    writer.ledger.close("finished")
    return tmp_path


def test_the_best_is_drawn_three_by_three_with_its_size(campaign: Path) -> None:
    history, by_name, store = opened(campaign)
    figures = of_kind(winner.section(history, by_name["design"], list(by_name.values()), store), Figure)
    picture = figures[0]
    assert "Trial 31, absorption 0.900: 3 × 3 periods" in picture.caption
    assert "A period is 400 × 800 nm, 16 × 16 pixels of 25 nm, the film is 150 nm thick." in picture.caption
    assert [words in picture.svg for words in ("x (nm)", "1,200", "2,400")] == [True] * 3
    embedded = re.search(r"data:image/png;base64,([^\"]+)", picture.svg)
    assert embedded is not None
    pixels = imread(io.BytesIO(base64.b64decode(embedded[1])), format="png")
    assert np.array_equal(pixels[..., 0], np.tile(np.roll(fields(31)[30], 8, axis=1), (3, 3)))
    assert winner.section(history, by_name["sample"], list(by_name.values()), store) is None


def test_spectra_stand_beside_those_of_random_structures(campaign: Path) -> None:
    history, by_name, store = opened(campaign)
    design, sample = by_name["design"], by_name["sample"]
    found = winner.spectra_of(design, design.finished[1], sample, store)
    assert found is not None and found.quantity == "absorption"
    assert found.best.tolist() == [0.14, 0.1, 0.9] and found.random.shape == (30, 3)
    assert found.random[7].tolist() == pytest.approx([0.07, 0.14, 0.5])
    figures = of_kind(winner.section(history, design, [*by_name.values()], store), Figure)
    # 5 and 95 % of 0, 0.01, … 0.29 are 0.0145 and 0.2755: only the third, 0.9 against 0.5 always, is outside
    assert "Band: 5–95 % of 30 random structures. It lies above the band at 1 of 3 wavelengths." in figures[1].caption


def test_spectra_at_other_wavelengths_make_no_band(campaign: Path) -> None:
    _, by_name, store = opened(campaign)
    design = by_name["design"]
    other = spectrum([0.1, 0.2, 0.3]) + np.array([1, 0, 0, 0])
    trial = design.finished[1]
    moved = Trial(
        id=99,
        study="design",
        number=0,
        point={},
        seed=0,
        values=trial.values,
        artifacts={"spectrum": store.save(other)},
    )
    found = winner.spectra_of(design, moved, by_name["sample"], store)
    assert found is not None and len(found.random) == 0
    assert "too few random structures" in winner._told(found)


def test_one_more_of_the_random_structures_is_like_them(campaign: Path) -> None:
    history, by_name, store = opened(campaign)
    section = like.section(history, by_name["design"], list(by_name.values()), store)
    (prose,), (table,) = of_kind(section, Prose), of_kind(section, Table)
    assert prose.text == "Yes: by all 6 measures it lies within the range of the 30 random structures of “sample”."
    assert [row[0] for row in table.rows][:2] == ["volume fraction", "two-point distance"]
    assert {row[-1] for row in table.rows} == {"yes"}
    assert table.rows[4][1].endswith(" nm")
    assert [figure.caption.split(" without")[0] for figure in of_kind(section, Figure)] == [
        "Two-point correlation S₂ of phase 1",
        "Lineal path L of phase 1",
    ]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_is_unlike_is_said_by_name(dimensions: int) -> None:
    shape = (16,) * dimensions if dimensions == 2 else (10, 10, 10)
    random = list(fields(25, shape))
    stripes = np.broadcast_to(np.arange(shape[-1]) % 2, shape).astype(np.uint8)
    found = likeness(stripes, random)
    assert found is not None and found.random == 25
    by_name = {one.name: one for one in found.figures}
    assert by_name["volume fraction"].best == 0.5 and by_name["volume fraction"].within
    assert not by_name["two-point distance"].within
    assert by_name["smallest feature"].best == by_name["smallest gap"].best == 1
    specks = likeness(np.indices(shape).sum(0).astype(np.uint8) % 2, random)
    assert specks is not None
    assert {one.name for one in specks.figures if not one.within} >= {"speckle", "lineal path distance"}
    assert next(one.best for one in specks.figures if one.name == "speckle") == 1


def test_the_statement_names_the_limit_that_is_not_kept() -> None:
    found = likeness(np.ones((16, 16), np.uint8), list(fields(25)))
    assert found is not None
    sample = Study(name="sample", config={}, objectives=(), finished=[], running=[], ended=None)
    words = like._verdict(found, sample, 25.0, "nm")
    assert words.startswith(
        "No: it differs from the 25 random structures of “sample” in volume fraction 1 (95\u202f% have 0."
    )
    assert re.search(r"95\u202f% have 0\.\d+ to 0\.\d+\)", words) and "or less)" in words and words.count("No") == 1


def test_what_a_search_lets_pass_is_not_called_unlike_by_the_report() -> None:
    random, others = fields(60), fields(400, seed=1)
    limits = Limits(random)
    low, high = np.quantile(random.mean(axis=(1, 2)), [0.05, 0.95])
    kept = others[limits.holds(others)]
    share = kept.mean(axis=(1, 2))
    edge = [*kept[share < low][:4], *kept[share > high][:4]]
    assert len(edge) > 3
    for one in [*edge, *kept[:4]]:
        found = likeness(one, list(random))
        assert found is not None
        within = {figure.name: figure.within for figure in found.figures}
        assert all(within[name] for name in ("volume fraction", "two-point distance", "speckle")), within


def test_curves_are_exact_on_stripes_whatever_their_share() -> None:
    for width in (1, 2, 3):
        stripes = np.broadcast_to(np.arange(16) % 4 < width, (16, 16)).astype(np.uint8)
        found = likeness(stripes, list(fields(25)))
        assert found is not None
        phi = width / 4
        assert found.correlation.best[0] == found.path.best[0] == pytest.approx(1)
        assert found.correlation.lags[:2].tolist() == [0.0, pytest.approx((1 + 2**0.5) / 2)]
        # of the 8 neighbours two lie along the stripes and six a pixel across them, where one column of each is alone
        across = (width - 1) / 4
        s2 = (2 * phi + 6 * across) / 8
        assert found.correlation.best[1] == pytest.approx((s2 - phi**2) / (phi - phi**2))
        assert found.path.best[1] == pytest.approx((across + phi) / 2 / phi)


def test_a_curve_that_leaves_the_band_more_than_most_is_outlying() -> None:
    random = np.random.default_rng(0).normal(size=(200, 10))
    inside, beyond = np.zeros(10), np.where(np.arange(10) < 6, 5.0, 0.0)
    assert (Curve(np.arange(10.0), inside, random).outside, Curve(np.arange(10.0), beyond, random).outside) == (0, 6)
    assert not Curve(np.arange(10.0), inside, random).outlying
    assert Curve(np.arange(10.0), beyond, random).outlying


def test_few_or_other_structures_are_not_compared() -> None:
    assert likeness(fields(1)[0], list(fields(19))) is None
    assert likeness(fields(1)[0], list(fields(40, (8, 8)))) is None
    for thin in ((1, 1), (1, 9), (9, 1)):
        assert likeness(fields(1, thin)[0], list(fields(40, thin))) is None
    found = likeness(fields(1)[0], [*fields(40, (8, 8)), *fields(20)])
    assert found is not None and found.random == 20


def study(trials: list[Trial], name: str = "s", **config: Any) -> Study:
    objective = Objective("absorption", "maximise")
    config = {"strategy": {"kind": "ascent"}, **config}
    return Study(name=name, config=config, objectives=(objective,), finished=trials, running=[], ended=None)


def trial(i: int, value: float | None, **options: Any) -> Trial:
    values = None if value is None else {"absorption": value}
    return Trial(id=i, study="s", number=i, point={"x": i}, seed=0, values=values, **options)


GRADIENT: dict[str, Any] = {"extra": {"gradient": True}, "cost": 1.5}


def test_a_gradient_counts_as_what_it_cost() -> None:
    trials = [trial(0, 0.5), trial(1, 0.6, **GRADIENT), trial(2, None), trial(3, 0.7, **GRADIENT)]
    found = progress.progress(study(trials), Objective("absorption", "maximise"))
    assert found.in_calls and found.order.tolist() == [1, 2.5, 5] and found.failed.tolist() == [3.5]
    section = progress.section(study(trials), None)
    (figure,) = of_kind(section, Figure)
    assert ">calls<" in figure.svg and "2 trials took a gradient too and cost more" in figure.caption
    plain = progress.progress(study([trial(0, 0.5, cost=3.0), trial(1, 0.6)]), Objective("absorption", "maximise"))
    assert not plain.in_calls and plain.order.tolist() == [1, 2]


def test_lines_are_drawn_for_random_structures_marks_and_the_bound() -> None:
    random = study([trial(0, 0.4), trial(1, 0.6)], "sample", strategy={"kind": "random"})
    bound = study([trial(2, 0.9), trial(3, 0.7), trial(4, None), trial(6, 0.99, fidelity=0.5)], "density")
    own = study([trial(5, 0.8)], "design", bound="density", marks={"best of 2,000 random": 0.65})
    section = progress.section(own, random, [random, bound, own])
    (figure,) = of_kind(section, Figure)
    for words in ("sample: mean ± std", "best of 2 random", "bound: density", "best of 2,000 random"):
        assert words in figure.svg
    assert "The best is +60\u202f% against the mean, 2.12 standard deviations, 75\u202f% of what the bound gains." in (
        figure.caption
    )
    assert "Lines: best of 2,000 random 0.650, bound: density 0.900." in figure.caption
    assert "; 75\u202f% of what the bound “density” gains (0.900)" in (summary.optimisation(own, random, 0.9) or "")
    beyond = progress.section(study([trial(5, 0.95)], "design", bound="density"), random, [random, bound])
    assert (
        "what the bound gains, so that the search for the bound ended too early." in of_kind(beyond, Figure)[0].caption
    )
    films = study([trial(2, 0.9, fidelity=0.5)], "density")  # none of them is finished
    assert progress.levels(own, own.objectives[0], [films])[1:] == []
    told = of_kind(progress.section(own, random, [random, films]), Figure)[0].caption
    assert "no line for the bound: “density” has measured nothing to its end yet." in told
    assert "no line for the bound" not in figure.caption
    assert progress.levels(study([], bound="nowhere"), own.objectives[0], [random]) == []


def test_random_structures_are_those_of_the_baseline_or_of_the_first_random_study() -> None:
    random, other = (study([], name, strategy={"kind": "random"}) for name in ("sample", "other"))
    assert random_of(study([], "design", baseline="other"), [random, other]) is other
    assert random_of(study([], "design"), [random, other]) is random
    assert random_of(random, [random]) is None


def test_another_design_as_the_baseline_is_not_called_random() -> None:
    random, first = study([], "sample", strategy={"kind": "random"}), study([trial(1, 0.5), trial(2, 0.7)], "first")
    design = study([trial(3, 0.8)], "design", baseline="first")
    assert random_of(design, [random, first]) is random and random_of(design, [first]) is None
    words = summary.optimisation(design, first) or ""
    assert "of “first” (" in words and "its best of 2: 0.700" in words and "random" not in words


def test_the_highest_order_is_the_closest_measurement() -> None:
    values = {"absorption": 0.5, "absorption_at_order_9": 0.6, "absorption_at_order_10": 0.7}
    found = study([Trial(id=0, study="s", number=0, point={}, seed=0, values=values)])
    assert again.closer_values(found)[-1] == "absorption_at_order_10"


def test_broken_limits_are_shown_and_counted(tmp_path: Path) -> None:
    violations = {"violations": {"smallest_feature": 12.5, "volume_fraction": 0.0}}
    writer = Writer(tmp_path, {"sample": part("random"), "design": part("ascent", baseline="sample")})
    measure(writer, "sample", 0.4, fields(1)[0])
    measure(writer, "design", 0.5, fields(1)[0], info={"violations": {}})
    measure(writer, "design", 0.9, fields(2)[1], info=violations, extra={"outside": ["two_point_distance"]})
    measure(writer, "design", 0.7, fields(3)[2], info={"violations": "none"})
    writer.ledger.close("finished")
    history, by_name, store = opened(tmp_path)
    design = by_name["design"]
    best = design.finished[1]
    assert structures.violations(best) == {"smallest_feature": 12.5}
    assert structures.faults(best) == ["breaks smallest feature by 12.5", "outside the data: two point distance"]
    section = winner.section(history, design, list(by_name.values()), store)
    assert of_kind(section, Prose)[0].text == (
        "The best structure breaks smallest feature by 12.5; it is outside the data: two point distance. Of 3 "
        "structures 1 breaks a limit or is unlike the data."
    )
    figure = of_kind(progress.section(design, None), Figure)[0]
    assert "Rings: 1 result that breaks a limit." in figure.caption and "breaks a limit" in figure.svg


def test_wrapped_drivers_say_how_large_their_structures_are(tmp_path: Path) -> None:
    stiff = {"kind": "elasticity"}
    both = {"kind": "several", "drivers": {"stiffness": stiff, "light": OPTICS}}
    drivers = {"both": both, "robust": {"kind": "robust", "error_pixels": 1, "driver": both}, "stiff": stiff}
    wanted: dict[str, Any] = {"absorption": UP, "bulk_modulus": UP}
    writer = Writer(tmp_path, {name: part("random", d) | {"objectives": wanted} for name, d in drivers.items()})
    for name in drivers:
        measure(writer, name, 0.5, fields(1)[0], info={"light": {"violations": {"gap": 1.0}}})
    writer.ledger.close("finished")
    history, by_name, store = opened(tmp_path)
    sizes = {name: structures.size(history, store, by_name[name].finished[0]) for name in drivers}
    film = structures.Size((400.0, 800.0), 150.0)
    assert sizes == {"both": film, "robust": film, "stiff": None}
    assert structures.violations(by_name["both"].finished[0]) == {"gap": 1.0}


def test_the_front_has_pictures_of_its_structures(tmp_path: Path) -> None:
    objectives = {"absorption": UP, "stiffness": {"direction": "maximise", "unit": "GPa"}}
    writer = Writer(tmp_path, {"trade": part("bayesian") | {"objectives": objectives}})
    arrays = fields(4)
    for array, values in zip(arrays, [(0.9, 1.0), (0.5, 4.0), (0.4, 3.0), (0.7, 2.0)], strict=True):
        done = dict(zip(objectives, values, strict=True))
        writer.answer(writer.propose("trade"), done, artifacts={"microstructure": writer.store.save(array)})
    writer.ledger.close("finished")
    _, by_name, store = opened(tmp_path)
    (gallery,) = of_kind(pareto.section(by_name["trade"], store), Gallery)
    assert [picture.title for picture in gallery.pictures] == ["trial 0", "trial 3", "trial 1"]
    assert gallery.pictures[1].lines == ("absorption 0.700", "stiffness 2 GPa")
    pixels = imread(io.BytesIO(base64.b64decode(gallery.pictures[0].uri.partition(",")[2])), format="png")
    assert np.array_equal(pixels[..., 0], np.tile(arrays[0], (2, 2)))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255], [255, 0]], np.uint8), [[0, 1], [1, 0]]),
        (np.array([[0, 2], [1, 0]], np.uint8), [[0, 2], [1, 0]]),
        (np.array([[True, False]]), [[1, 0]]),
        (np.array([[0.2, 0.5, 0.7, np.nan]]), [[0, 0, 1, 0]]),
        (np.array([[-3, 70, 5]]), [[0, 2, 1]]),
        (np.zeros((2, 2), np.uint8), [[0, 0], [0, 0]]),
        (np.full((1, 2), 255, np.uint8), [[1, 1]]),
    ],
)
def test_phases_of_any_array(array: np.ndarray, expected: list[list[int]]) -> None:
    found = structures.labels(array)
    assert found is not None and found.tolist() == expected


def test_grey_values_are_no_phases() -> None:
    assert structures.labels(np.arange(12).reshape(3, 4)) is None
    assert structures.grey(np.arange(0, 256, 5).reshape(4, 13)).max() == 255
    assert structures.grey(np.array([[0, 1, 2]], np.uint8)).tolist() == [[0, 128, 255]]
    cube = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.zeros((2, 2))]).astype(np.uint8)
    assert structures.grey(cube).tolist() == [[255, 255], [255, 255]]


@pytest.mark.parametrize("fault", ["gone", "torn", "another driver", "in space", "grey", "density"])
def test_whatever_is_missing_the_page_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    driver: Any = {"kind": "nowhere:Driver"} if fault == "another driver" else OPTICS
    shape = (6, 6, 6) if fault == "in space" else (16, 16)
    studies = {"sample": part("random", driver), "design": part("ascent", driver, baseline="sample")}
    writer = Writer(tmp_path, studies)
    arrays = list(fields(25, shape))
    if fault == "grey":
        arrays = [np.arange(256, dtype=np.uint8).reshape(16, 16)] * 25
    for i, array in enumerate(arrays[:22]):
        measure(writer, "sample", 0.01 * i, array)
    for i, array in enumerate(arrays[22:]):
        done = measure(writer, "design", 0.5 + 0.1 * i, array, spectrum=np.zeros((2, 3)))
        path = writer.store.path(done.artifacts["microstructure"])
        if fault == "gone":
            path.unlink(missing_ok=True)
        if fault == "torn":
            path.write_bytes(path.read_bytes()[:50])
    if fault == "density":
        density = writer.store.save(np.full((16, 16), 0.3))
        writer.answer(writer.propose("design"), {"absorption": 0.99}, artifacts={"density": density})
    writer.ledger.close("finished")
    with caplog.at_level(logging.WARNING):
        words = " ".join(parse(write(tmp_path).read_text(encoding="utf-8")).words)
    assert [record.getMessage() for record in caplog.records] == []
    assert "The best structure" in words
    assert ("The structure of trial 24 cannot be read" in words) == (fault in ("gone", "torn"))
    assert ("Is it like random structures?" in words) == (fault not in ("gone", "torn", "grey"))
    if fault == "another driver":
        assert "its size in nm is not known" in words
