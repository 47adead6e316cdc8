"""Whether the best structure is one that the data could have held: its statistics among those of random structures."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, structures, text
from matloop.orchestrator.report.content import Figure, Prose, Section, Table
from matloop.orchestrator.report.likeness import MOST, Curve, Likeness, likeness
from matloop.orchestrator.report.likeness import Figure as Number
from matloop.orchestrator.report.sections import again
from matloop.orchestrator.report.study import NO_DESIGN, Study, random_of
from matloop.orchestrator.trial import Trial


def section(history: History, study: Study, found: Sequence[Study], store: ArtifactStore) -> Section | None:
    """Sentence, figures and table; None for studies that look for no best, and without enough random structures."""
    best, random = again.winner(study), random_of(study, found)
    if study.kind("strategy") in NO_DESIGN or best is None or random is None:
        return None
    own, others = _labels(best, store), _random(random, store)
    compared = None if own is None else likeness(own, others)
    if compared is None:
        return None
    size = structures.size(history, store, best)
    pixel, unit = (1.0, "pixels") if size is None or own is None else (size.period_nm[0] / own.shape[-1], "nm")
    figures = [
        _figure(f"{study.name}: two-point correlation of the best", compared.correlation, pixel, unit, *CORRELATION),
        _figure(f"{study.name}: lineal path of the best", compared.path, pixel, unit, *PATH),
    ]
    table = _table(compared, pixel, unit)
    return Section("Is it like random structures?", (Prose(_verdict(compared, random, pixel, unit)), *figures, table))


CORRELATION = (
    "(S₂ − φ²) / (φ − φ²)",
    "Two-point correlation S₂ of phase 1 without its volume fraction φ: 1 at places that are alike, 0 at places that "
    "have nothing to do with each other.",
)
PATH = (
    "L / φ",
    "Lineal path L of phase 1 without its volume fraction φ: how probable it is that a segment which begins in the "
    "phase lies wholly in it.",
)


def _labels(trial: Trial, store: ArtifactStore) -> structures.Labels | None:
    array = structures.load(store, trial)
    return None if array is None else structures.labels(array)


def _random(random: Study, store: ArtifactStore) -> list[structures.Labels]:
    trials = [t for t in random.answered if structures.kind_of(t)]
    chosen = (trials[i] for i in statistics.even(len(trials), MOST))
    return [found for t in chosen if (found := _labels(t, store)) is not None]


def _verdict(compared: Likeness, random: Study, pixel: float, unit: str) -> str:
    inside = [one.name for one in compared.figures if one.within]
    outside = [one for one in compared.figures if not one.within]
    whose = f"the {compared.random:,} random structures of “{random.name}”"
    if not outside:
        return f"Yes: by all {len(inside)} measures it lies within the range of {whose}.{_aside(compared)}"
    said = [f"{one.name} {_value(one, one.best, pixel, unit)} ({_limit(one, pixel, unit)})" for one in outside]
    rest = f", but not in {_listed(inside)}" if inside else ""
    return f"No: it differs from {whose} in {_listed(said)}{rest}."


def _aside(compared: Likeness) -> str:
    """Where curves leave the band at more of the distances than those of most random structures."""
    named = (("two-point correlation", compared.correlation), ("lineal path", compared.path))
    left = [f"its {name} at {c.outside} of {len(c.lags)} distances" for name, c in named if c.outlying]
    return f" It is at the edge of that, though: the band below does not hold {_listed(left)}." if left else ""


def _limit(one: Number, pixel: float, unit: str) -> str:
    """What it does not keep."""
    low, high = (None if end is None else _value(one, end, pixel, unit) for end in (one.low, one.high))
    if low is not None and high is not None:
        return f"95\u202f% have {low} to {high}"
    return f"95\u202f% have {low} or more" if high is None else f"95\u202f% have {high} or less"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def _value(one: Number, value: float, pixel: float, unit: str) -> str:
    return f"{text.number(pixel * value)} {unit}" if one.pixels else text.number(value)


def _table(compared: Likeness, pixel: float, unit: str) -> Table:
    def between(one: Number) -> str:
        low, high = (None if end is None else _value(one, end, pixel, unit) for end in (one.low, one.high))
        if low is None or high is None:
            return f"up to {high}" if high is not None else f"from {low}"
        return f"{low} to {high}"

    rows = [
        (one.name, _value(one, one.best, pixel, unit), between(one), "yes" if one.within else "no")
        for one in compared.figures
    ]
    caption = (
        f"Ranges hold 95\u202f% of the {compared.random:,} structures. Distances are from their mean, as a share of "
        "it. Speckle: share of pixels unlike all but at most one of their neighbours. Features and gaps: "
        "the largest disc that fits everywhere into phase 1, and outside it."
    )
    return Table(("", "best", "random", "within"), rows, "lrrl", caption, wide=True)


def _figure(title: str, curve: Curve, pixel: float, unit: str, name: str, meaning: str) -> Figure:
    low, high = curve.band

    def paint(axes: Axes) -> None:
        x = pixel * curve.lags
        axes.fill_between(x, low, high, color=fig.MUTED, alpha=0.18, linewidth=0, label="random, 5–95 %")
        axes.plot(x, curve.random.mean(axis=0), color=fig.MUTED, linewidth=1.2, label="random, mean")
        axes.plot(x, curve.best, color=fig.BLUE, label="best")
        axes.set_xlim(float(x[0]), float(x[-1]))
        axes.axhline(0, color=fig.MUTED, linewidth=0.8)
        axes.set_xlabel(f"distance ({unit})")
        axes.set_ylabel(name)
        fig.ticks(axes.xaxis, logarithmic=False)
        fig.ticks(axes.yaxis, logarithmic=False)
        fig.legend(axes)

    where = f"The best lies within the band at {len(low) - curve.outside} of {len(low)} distances."
    return Figure(fig.draw(title, paint, height=300), f"{meaning} {where}")
