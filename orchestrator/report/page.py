"""The whole page: chapters in the order in which a reader asks, poured into the template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.references import is_of_references
from matloop.orchestrator.report import headline, text
from matloop.orchestrator.report.content import Chapter, Section
from matloop.orchestrator.report.guard import guarded, said, sections
from matloop.orchestrator.report.sections import (
    again,
    doubts,
    failures,
    hits,
    images,
    likeness,
    lineage,
    occupancy,
    overrides,
    pareto,
    predictions,
    progress,
    prospects,
    reasons,
    record,
    references,
    slices,
    winner,
)
from matloop.orchestrator.report.study import Study, studies


def html(history: History, store: ArtifactStore, lines: Sequence[str] = ()) -> str:
    """The report of a history, as one self-contained HTML page; equal input gives equal text.

    Args:
        history: replayed from the ledger.
        store: where images are read from.
        lines: comparison lines, printed at the top.
    """
    found = studies(history)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    name = history.sessions[-1].config.get("name", "campaign") if history.sessions else "campaign"
    return environment.get_template("template.html").render(
        name=str(name),
        state=headline.state(history, found),
        state_sentence=guarded("state", lambda: headline.state_sentence(history, found), said),
        tiles=guarded("counts", lambda: headline.tiles(history), lambda _: []),
        sentences=[(s.name, f"study-{i}", _sentence(s)) for i, s in enumerate(found)],
        lines=[line.partition(": ") for line in lines],
        chapters=[*_chapters(history, found, store), *_last(history)],
    )


def _sentence(study: Study) -> str:
    return guarded(f"{study.name}, summary", lambda: headline.sentence(study), said)


def _chapters(history: History, found: list[Study], store: ArtifactStore) -> list[Chapter]:
    by_name = {study.name: study for study in found}
    chapters = []
    for index, study in enumerate(found):
        if is_of_references(study.config):  # which stand beside their search
            chapters.append(Chapter(f"study-{index}", study.name, _subtitle(study), ()))
            continue
        shown = _sections(history, study, by_name.get(study.baseline or ""), found, store)
        chapters.append(Chapter(f"study-{index}", study.name, _subtitle(study), tuple(shown)))
    return chapters


def _sections(
    history: History, study: Study, baseline: Study | None, found: list[Study], store: ArtifactStore
) -> list[Section]:
    return sections(
        study.name,
        {
            "references": lambda: references.section(study, found),
            "measured again": lambda: again.section(history, study),
            "best structure": lambda: winner.section(history, study, found, store),
            "best so far": lambda: progress.section(study, baseline, found),
            "likeness": lambda: likeness.section(history, study, found, store),
            "values in doubt": lambda: doubts.section(study, store.folder.parent),
            "pictures": lambda: images.section(study, baseline, store),
            "lineage": lambda: lineage.section(history, study),
            "hit rate": lambda: hits.section(study),
            "predictions": lambda: predictions.sections(study),
            "outlook": lambda: prospects.section(study),
            "front": lambda: pareto.section(study, store),
            "slices": lambda: slices.section(history, study, store),
            "reasons": lambda: reasons.section(study),
        },
    )


def _subtitle(study: Study) -> str:
    parts = [f"{part} {kind}" for part in ("space", "driver", "strategy") if (kind := study.kind(part))]
    parts += [f"{o.direction} {text.axis(o)}" for o in study.objectives]
    if study.ended is not None:
        parts.append(f"ended: {study.ended.get('reason', 'done')}")
    return " · ".join(parts)


def _last(history: History) -> list[Chapter]:
    run = {
        "slots": lambda: occupancy.section(history),
        "overrides": lambda: overrides.section(history),
        "failures": lambda: failures.section(history),
    }
    found: list[tuple[str, str, list[Section]]] = [
        ("run", "How it ran", sections("run", run)),
        ("record", "Record", sections("record", {"record": lambda: record.sections(history)})),
    ]
    return [Chapter(name, title, "", tuple(shown)) for name, title, shown in found if shown]
