"""Did the fitness predictor earn its place? Share of offspring that beat the population's median, screened or not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.content import Figure, Prose, Section, Table
from matloop.orchestrator.report.study import Study

GROUPS = ("screened", "unscreened", "random")
COLOURS = {"screened": fig.BLUE, "unscreened": fig.ORANGE, "random": fig.MUTED}
BINS = 6


@dataclass(frozen=True, slots=True)
class Hits:
    """Proposals that had a population to be compared with, in the order of their results.

    Attributes:
        group: which of `GROUPS` each belongs to.
        hit: (n,) whether its measured loss was below the median of the population at its proposal; no if it failed.
        ranks: (k, 2) predicted rank in [0, 1], 0 best, and measured loss less the reference, of answered offspring.
    """

    group: list[str]
    hit: npt.NDArray[np.bool_]
    ranks: npt.NDArray[np.float64]

    def of(self, group: str) -> npt.NDArray[np.bool_]:
        """Hits of one group, in order."""
        return self.hit[np.array([g == group for g in self.group], dtype=bool)]


def hits(study: Study) -> Hits:
    """Read what evolution noted with its proposals."""
    objective = study.objectives[0]
    group, hit, ranks = [], [], []
    for trial in study.finished:
        reference = trial.extra.get("reference")
        if reference is None or "origin" not in trial.extra:
            continue
        if trial.values is not None and objective.name not in trial.values:
            continue
        screened = bool(trial.extra.get("screened"))
        group.append("screened" if screened else "random" if trial.extra["origin"] == "random" else "unscreened")
        loss = np.inf if trial.values is None else objective.loss(trial.values[objective.name])
        hit.append(loss < reference)
        predicted = trial.extra.get("predicted_rank")
        if trial.values is not None and isinstance(predicted, int | float):
            ranks.append((float(predicted), loss - reference))
    return Hits(group, np.array(hit, dtype=bool), np.array(ranks, dtype=np.float64).reshape(len(ranks), 2))


def section(study: Study) -> Section | None:
    """Table, sentence and figure; None if nothing was screened."""
    if not study.objectives:
        return None
    data = hits(study)
    if not len(data.of("screened")):
        return None
    rows = []
    for group in GROUPS:
        n, k = len(data.of(group)), int(data.of(group).sum())
        if n:
            low, high = statistics.wilson(k, n)
            interval = f"{text.percent(low)} to {text.percent(high)}"
            rows.append((group, f"{k:,} of {n:,}", text.percent(k / n, decimals=1), interval))
    table = Table(("offspring", "hits", "share", "95\u202f% interval"), rows, "lrrr", "Hit rate (Wilson interval).")
    svg = fig.draw(f"{study.name}: hit rate over time", lambda axes: _paint(axes, data), height=300)
    caption = (
        "A hit is an offspring whose measured loss is below the median of the population at the moment it was "
        "proposed; a failed one is a miss. Bars are 95\u202f% intervals of each stretch of the study."
    )
    return Section("What the predictor was worth", (Prose(_verdict(data)), Figure(svg, caption), table))


def _verdict(data: Hits) -> str:
    screened, plain = data.of("screened"), data.of("unscreened")
    a = (int(screened.sum()), len(screened))
    sentence = (
        f"Of the offspring that the predictor chose, {a[0]:,} of {a[1]:,} were hits ({text.percent(a[0] / a[1])})"
    )
    if not len(plain):
        return sentence + "; none was proposed without it, so there is nothing to hold this against." + _ranking(data)
    b = (int(plain.sum()), len(plain))
    low, high = statistics.newcombe(a, b)
    sentence += f", of those bred without it {b[0]:,} of {b[1]:,} ({text.percent(b[0] / b[1])}). "
    gap = f"{100 * (a[0] / a[1] - b[0] / b[1]):+.0f} points, 95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
    gap = gap.replace("-", "−")
    if low > 0:
        return sentence + f"Screening helped ({gap})." + _ranking(data)
    if high < 0:
        return sentence + f"Screening did harm ({gap})." + _ranking(data)
    return sentence + f"The difference may be chance ({gap})." + _ranking(data)


def _ranking(data: Hits) -> str:
    if len(data.ranks) < 5 or np.ptp(data.ranks[:, 0]) == 0 or np.ptp(data.ranks[:, 1]) == 0:
        return ""
    from scipy.stats import spearmanr  # slow to import, and only evolution has a use for it

    rho = float(spearmanr(data.ranks[:, 0], data.ranks[:, 1]).statistic)
    sentence = (
        f" Its predicted ranks and the measured losses, both relative to the population, correlate with Spearman’s "
        f"ρ = {rho:.2f} over {len(data.ranks):,} offspring"
    )
    return sentence.replace("-", "−") + (" (1 is perfect, 0 is guessing).")


def _paint(axes: Axes, data: Hits) -> None:
    order = np.arange(1, len(data.hit) + 1)
    groups = np.array(data.group)
    edges = np.linspace(0.5, len(order) + 0.5, min(BINS, max(1, len(order) // 8)) + 1)
    for shift, group in enumerate(g for g in GROUPS if len(data.of(g))):
        x, share, low, high = [], [], [], []
        for left, right in itertools.pairwise(edges):
            inside = (order > left) & (order < right) & (groups == group)
            n, k = int(inside.sum()), int(data.hit[inside].sum())
            if n:
                bounds = statistics.wilson(k, n)
                x.append(left + (right - left) * (0.35 + 0.15 * shift))
                share.append(k / n)
                low.append(k / n - bounds[0])
                high.append(bounds[1] - k / n)
        style: dict[str, Any] = {"color": COLOURS[group], "label": group, "linewidth": 1.4, "markersize": 6}
        axes.errorbar(x, share, [low, high], fmt="o-", elinewidth=1.2, **style)
    axes.axhline(0.5, color=fig.MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("offspring, in the order of their results")
    axes.set_ylabel("share of hits")
    fig.legend(axes)
