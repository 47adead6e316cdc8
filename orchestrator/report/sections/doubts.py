"""Values that look like a slip of the pen, so that whoever reads a result knows of them."""

from __future__ import annotations

from pathlib import Path

from matloop.orchestrator.ledger.slips import advice, slips
from matloop.orchestrator.report.content import Prose, Section
from matloop.orchestrator.report.study import Study


def section(study: Study, directory: Path) -> Section | None:
    """A sentence for each; None if nothing is doubted."""
    found = slips(study.finished, study.objectives)
    if not found:
        return None
    sentences = [f"{(line := advice(slip, directory))[0].upper()}{line[1:]}." for slip in found]
    return Section("Values in doubt", tuple(Prose(sentence) for sentence in sentences))
