"""The report: one HTML file that tells what happened in a campaign, readable anywhere and without a network."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def write(directory: Path) -> Path:
    """Write `report.html` into a campaign's folder, from its ledger and artifacts.

    Args:
        directory: holds `ledger.db` and, if there are any, `artifacts/`.

    Returns:
        The file's path.

    Raises:
        LedgerError: there is no readable ledger.
        OSError: the folder cannot be written.
    """
    from matloop.orchestrator.ledger.artifacts import ArtifactStore
    from matloop.orchestrator.ledger.ledger import read
    from matloop.orchestrator.report import page, summary

    directory = Path(directory)
    history = read(directory / "ledger.db")
    text = page.html(history, ArtifactStore(directory / "artifacts"), summary.of(directory, history))
    target = directory / "report.html"
    partial = target.with_suffix(".tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        return partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
