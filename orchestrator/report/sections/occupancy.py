"""Were the slots busy? Every evaluation as a bar in its slot, and the share of the time in which slots worked."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from matloop.orchestrator.ledger.history import History, Session
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.trial import Trial

BARS = 1500
LANES = 24
BINS = 400


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Evaluations on a clock that stands still while the campaign does not run.

    Attributes:
        start, stop: (n,) s since the first session began, pauses between sessions taken out.
        lane: (n,) slot, from 0.
        study: (n,) index into `studies`.
        failed: (n,) whether it failed.
        studies: names in order of appearance.
        pauses: s, where a later session began.
        span_s: running time of all sessions together, s.
    """

    start: npt.NDArray[np.float64]
    stop: npt.NDArray[np.float64]
    lane: npt.NDArray[np.int_]
    study: npt.NDArray[np.int_]
    failed: npt.NDArray[np.bool_]
    studies: list[str]
    pauses: list[float]
    span_s: float

    @property
    def lanes(self) -> int:
        """Most evaluations that ran at once."""
        return int(self.lane.max()) + 1 if len(self.lane) else 0

    @property
    def busy(self) -> float:
        """Share of slot time spent evaluating, in [0, 1]."""
        return min(1.0, float(np.sum(self.stop - self.start)) / (self.lanes * self.span_s)) if self.span_s else 0.0


def occupancy(history: History) -> Occupancy:
    """Place every finished evaluation that has times; what people measure occupies no slot."""
    manual = _manual(history)
    timed = [
        t
        for i in history.finished
        if (t := history.trials[i]).started_at is not None and t.finished_at and t.study not in manual
    ]
    timed.sort(key=lambda t: (t.started_at or 0.0, t.id))
    studies = list(dict.fromkeys(t.study for t in timed))
    begin = np.array([t.started_at for t in timed], dtype=np.float64)
    end = np.maximum(np.array([t.finished_at for t in timed], dtype=np.float64), begin)
    start, stop, pauses, span_s = _running_clock(begin, end, history.sessions)
    return Occupancy(
        start=start,
        stop=stop,
        lane=_lanes(timed, begin, end),
        study=np.array([studies.index(t.study) for t in timed], dtype=np.int_),
        failed=np.array([t.values is None for t in timed], dtype=bool),
        studies=studies,
        pauses=pauses,
        span_s=span_s,
    )


def _manual(history: History) -> set[str]:
    """Names of the studies that people do."""
    config = (history.sessions[-1].config.get("studies") or {}) if history.sessions else {}
    return {name for name, part in config.items() if (part.get("driver") or {}).get("kind") == "manual"}


def section(history: History) -> Section | None:
    """Figure; None if nothing was evaluated."""
    data = occupancy(history)
    if not len(data.start) or not data.span_s:
        return None
    bars = len(data.start) <= BARS and data.lanes <= LANES
    height = 110 + 22 * data.lanes if bars else 280
    svg = fig.draw(
        "slot occupancy",
        lambda axes: _bars(axes, data) if bars else _area(axes, data),
        width=fig.WIDE,
        height=height,
    )
    what = "Each bar is one evaluation" if bars else "Height is the mean number of evaluations at work"
    caption = (
        f"{what}. {text.plural(data.lanes, 'slot')} worked for {text.percent(data.busy)} of "
        f"{text.duration(data.span_s)}; gaps are waiting: for a proposal, for a study's last results, or for start-up."
    )
    if data.pauses:
        caption += (
            f" Dotted lines: the campaign was resumed ({text.plural(len(data.pauses), 'time')}); pauses are cut out."
        )
    return Section("Slots over time", (Figure(svg, caption, wide=True),))


def _running_clock(
    begin: npt.NDArray[np.float64], end: npt.NDArray[np.float64], sessions: list[Session]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[float], float]:
    """Map Unix times to a clock that counts only while a session is open."""
    opened = np.array([s.opened_at for s in sessions])
    closed = np.maximum(np.array([s.last_at for s in sessions]), opened)
    before = np.concatenate([[0.0], np.cumsum(closed - opened)])

    def clock(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        index = np.clip(np.searchsorted(opened, times, side="right") - 1, 0, len(opened) - 1)
        return before[index] + np.clip(times - opened[index], 0.0, (closed - opened)[index])

    return clock(begin), clock(end), [float(x) for x in before[1:-1]], float(before[-1])


def _lanes(timed: list[Trial], begin: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> npt.NDArray[np.int_]:
    """Slot of each evaluation: the one its worker had last if that is free, else the lowest free one."""
    lane = np.zeros(len(timed), dtype=np.int_)
    running: list[tuple[float, int]] = []
    free: list[int] = []
    last: dict[str, int] = {}
    for i, trial in enumerate(timed):
        while running and running[0][0] <= begin[i] + 1e-3:
            heapq.heappush(free, heapq.heappop(running)[1])
        own = last.get(trial.worker)
        if own is not None and own in free:
            free.remove(own)
            heapq.heapify(free)
            lane[i] = own
        else:
            lane[i] = heapq.heappop(free) if free else len(running)
        last[trial.worker] = int(lane[i])
        heapq.heappush(running, (float(end[i]), int(lane[i])))
    return lane


def _unit(span_s: float) -> tuple[float, str]:
    return next((u for u in ((1.0, "s"), (60.0, "min"), (3600.0, "h")) if span_s / u[0] <= 180), (86400.0, "d"))


def _bars(axes: Axes, data: Occupancy) -> None:
    scale, unit = _unit(data.span_s)
    least = data.span_s / 800  # a bar that could not be seen otherwise
    for index, name in enumerate(data.studies):
        for failed in (False, True):
            chosen = (data.study == index) & (data.failed == failed)
            left = data.start[chosen] / scale
            right = np.maximum(data.stop[chosen], data.start[chosen] + least) / scale
            low, high = data.lane[chosen] - 0.38, data.lane[chosen] + 0.38
            corners = np.stack([np.stack([left, left, right, right], 1), np.stack([low, high, high, low], 1)], axis=2)
            colour = fig.VERMILION if failed else fig.CYCLE[index % len(fig.CYCLE)]
            label = (
                ("failed" if index == np.flatnonzero(_any_failed(data))[0] else None) if failed and len(left) else name
            )
            if len(left):
                axes.add_collection(
                    PolyCollection(
                        list(corners),
                        facecolor=colour,
                        edgecolor=fig.PAPER,
                        linewidth=0.4 if len(data.start) < 150 else 0.0,
                        label=label,
                    )
                )
    axes.set_ylim(data.lanes - 0.4, -0.6)
    axes.set_yticks(range(data.lanes), [str(i + 1) for i in range(data.lanes)])
    axes.set_ylabel("slot")
    axes.grid(False)
    _clock_axis(axes, data, scale, unit)


def _any_failed(data: Occupancy) -> list[bool]:
    return [bool(np.any(data.failed & (data.study == i))) for i in range(len(data.studies))]


def _area(axes: Axes, data: Occupancy) -> None:
    scale, unit = _unit(data.span_s)
    edges = np.linspace(0, data.span_s, BINS + 1)
    below = np.zeros(BINS)
    for index, name in enumerate(data.studies):
        chosen = data.study == index
        level = busy_slots(data.start[chosen], data.stop[chosen], edges)
        colour = fig.CYCLE[index % len(fig.CYCLE)]
        axes.stairs(below + level, edges / scale, baseline=below, fill=True, color=colour, label=name)
        below = below + level
    axes.axhline(data.lanes, color=fig.MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_ylim(0, data.lanes * 1.05)
    axes.set_ylabel("busy slots")
    _clock_axis(axes, data, scale, unit)


def busy_slots(
    start: npt.NDArray[np.float64], stop: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean number of evaluations at work in each bin: exact, from the running integral of starts and stops."""

    def worked(until: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        total = np.zeros(len(until))
        for times, sign in ((np.sort(start), 1.0), (np.sort(stop), -1.0)):
            count = np.searchsorted(times, until, side="right")
            total += sign * (count * until - np.concatenate([[0.0], np.cumsum(times)])[count])
        return total

    return np.diff(worked(edges)) / np.diff(edges)


def _clock_axis(axes: Axes, data: Occupancy, scale: float, unit: str) -> None:
    for pause in data.pauses:
        axes.axvline(pause / scale, color=fig.INK, linewidth=1.0, linestyle=(0, (1, 2)))
    axes.set_xlim(0, data.span_s / scale)
    axes.set_xlabel(f"running time ({unit})")
    fig.legend(axes, 6)
