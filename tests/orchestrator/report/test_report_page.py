"""The page as a whole: self-contained, valid, safe against what users write, for every state of a campaign."""

from __future__ import annotations

import re
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History, Session
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.report import page, write
from matloop.orchestrator.trial import Failure, Prediction, Trial
from tests.orchestrator.report.synthetic_campaign import STUDIES, TRACEBACK, Writer, optics, search

VOID = {"meta", "img", "br", "link", "hr", "input"}
STEP = np.linspace(-1, 1, 16)
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}$x$"


class Reader(HTMLParser):
    """Checks that elements close in order; collects ids, links, tags and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
                self.links.append(value or "")
            assert not name.startswith("on"), f"script in an attribute: {name}"

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def parse(html: str) -> Reader:
    """Parse and check what must hold for every page."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert html.startswith("<!DOCTYPE html>")
    assert [i for i, n in reader.ids.items() if n > 1] == []
    for link in reader.links:
        assert link.startswith(("#", "data:image/png;base64,")), f"external reference: {link[:80]}"
        if link.startswith("#"):
            assert link[1:] in reader.ids
    for target in re.findall(r"url\(([^)]*)\)", html):
        assert target.startswith("#") and target[1:] in reader.ids
    assert reader.tags["script"] == reader.tags["link"] == reader.tags["iframe"] == 0
    assert "@import" not in html
    return reader


def render(history: History, folder: Path, lines: tuple[str, ...] = ()) -> str:
    """The page of a history."""
    return page.html(history, ArtifactStore(folder / "artifacts"), lines)


def test_a_full_campaign(history: History, directory: Path) -> None:
    html = render(history, directory, ("design: absorption 0.95",))
    reader = parse(html)
    words = " ".join(reader.words)
    for expected in (
        "absorbers",
        "Finished",
        "Best so far",
        "The best network and where it came from",
        "What the predictor was worth",
        "Predicted against measured",
        "What trades against what",
        "The best structure",
        "Is it like random structures?",
        "What they look like",
        "Slots over time",
        "Failures and lost work",
        "Campaign file",
        "FloatingPointError: loss is not finite after epoch 3",
        "2.13.0",
        "absorption 0.95",
    ):
        assert expected in words, expected
    assert reader.tags["svg"] == 17
    assert reader.tags["figcaption"] >= reader.tags["svg"]  # no picture without a sentence
    assert reader.tags["img"] == 24
    assert len(html) < 1_000_000


def test_equal_histories_give_equal_pages(history: History, directory: Path) -> None:
    again = read(directory / "ledger.db")
    assert render(history, directory) == render(again, directory)


def test_write_and_write_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path, {"sample": STUDIES["sample"]})
    for i in range(3):
        optics(writer, "sample", (i - 1) * 0.3 * STEP)
    writer.ledger.close("interrupted")
    first = write(tmp_path)
    text = first.read_text(encoding="utf-8")
    assert first == tmp_path / "report.html"
    assert "before all studies ended" in text
    assert write(tmp_path).read_text(encoding="utf-8") == text
    assert not (tmp_path / "report.tmp").exists()


def test_without_a_ledger_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger"):
        write(tmp_path)


def test_an_empty_campaign(tmp_path: Path) -> None:
    assert "Nothing has been run yet" in render(History(), tmp_path)
    parse(render(History(), tmp_path))
    writer = Writer(tmp_path)
    writer.ledger.commit()
    html = render(read(tmp_path / "ledger.db"), tmp_path)
    reader = parse(html)
    assert reader.tags["svg"] == 0
    assert "Nothing to show yet." in reader.words
    writer.ledger.close()


def test_only_failures(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for i in range(5):
        failure = Failure(cause="exception", message=f"ValueError: bad {i % 2}", traceback=TRACEBACK)
        writer.answer(writer.propose("sample"), failure=failure)
    writer.ledger.close()
    reader = parse(render(read(tmp_path / "ledger.db"), tmp_path))
    words = " ".join(reader.words)
    assert "every one failed" in words
    assert "5 trials gave no values" in words
    assert reader.tags["details"] == 3  # two messages and the campaign file


def test_still_running(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    optics(writer, "sample", STEP)
    writer.propose("sample")
    writer.propose("learn", prediction=Prediction(mean={"absorption": 0.5}))
    writer.ledger.commit()
    words = " ".join(parse(render(read(tmp_path / "ledger.db"), tmp_path)).words)
    assert "Running, or killed" in words
    assert "1 trial proposed, none finished yet." in words
    writer.ledger.close()


def test_everything_a_user_writes_is_escaped(tmp_path: Path) -> None:
    objectives = {HOSTILE: {"direction": "maximise", "unit": HOSTILE}, "b": {"direction": "minimise", "unit": ""}}
    part = {"space": {"kind": HOSTILE}, "strategy": {"kind": "evolution"}, "objectives": objectives}
    writer = Writer(tmp_path, {HOSTILE: part}, name=HOSTILE)
    for i in range(12):
        point = {"layers": [{"kind": HOSTILE, HOSTILE: HOSTILE}]}
        extra = {"origin": HOSTILE, "screened": True, "reference": 0.0}
        prediction = Prediction(mean={HOSTILE: 1.0}, std={HOSTILE: 0.5})
        proposal = writer.propose(HOSTILE, point, parents=(i - 1,) if i else (), extra=extra, prediction=prediction)
        if i == 3:
            failure = Failure(cause="exception", message=HOSTILE, traceback=HOSTILE)
            writer.ledger.lose(proposal, HOSTILE)
            writer.answer(proposal, failure=failure)
        else:
            writer.answer(proposal, {HOSTILE: float(i), "b": float(i * i)})
    writer.ended(HOSTILE, HOSTILE)
    writer.ledger.close(HOSTILE)
    html = render(read(tmp_path / "ledger.db"), tmp_path, (f"{HOSTILE}: {HOSTILE}",))
    reader = parse(html)
    assert "<script" not in html
    assert sum(HOSTILE in words for words in reader.words) > 10


def test_a_search_without_screening_has_no_hit_rate(tmp_path: Path, history: History) -> None:
    plain = [t for t in history.trials if t.study == "search" and not t.extra.get("screened")]
    assert plain
    writer = Writer(tmp_path, {"search": STUDIES["search"]})
    for trial in plain[:10]:
        values = trial.values or {"validation_mae": 1.0, "parameters": 1.0}
        writer.answer(writer.propose("search", trial.point, extra=trial.extra), values)
    writer.ledger.close()
    assert "What the predictor was worth" not in render(read(tmp_path / "ledger.db"), tmp_path)


def test_a_hundred_thousand_trials(tmp_path: Path) -> None:
    n, slots = 100_000, 64
    config = {"name": "large", "studies": {"sample": STUDIES["sample"]}}
    trials: list[Trial] = []
    sessions = [Session(0.0, n / slots, config, {}, "finished")]
    history = History(trials=trials, sessions=sessions, finished=list(range(n)))
    for i in range(n):
        value = 0.5 + 0.4 * ((i * 7919) % n) / n
        failed = i % 50 == 0
        trials.append(
            Trial(
                id=i,
                study="sample",
                number=i,
                point={"z": [0.0]},
                seed=i,
                state="failed" if failed else "answered",
                prediction=Prediction(mean={"absorption": value + 0.01 * (i % 7 - 3)}, std={"absorption": 0.02}),
                values=None if failed else {"absorption": value},
                failure=Failure(cause="exception", message=f"error {i % 400}") if failed else None,
                started_at=i // slots + 0.0,
                finished_at=i // slots + 0.9,
                worker=f"node:{i % slots}",
            )
        )
    began = time.process_time()
    html = render(history, tmp_path)
    assert time.process_time() - began < 30
    assert len(html) < 2_000_000
    parse(html)


def test_the_searchs_best_is_on_the_page(tmp_path: Path) -> None:
    writer = Writer(tmp_path, {"search": STUDIES["search"]})
    search(writer, np.random.default_rng(1), n=30)
    writer.ledger.close()
    history = read(tmp_path / "ledger.db")
    best = min((t for t in history.trials if t.values), key=lambda t: (t.values or {})["validation_mae"])
    assert f"The best, trial {best.id}, has validation MAE" in render(history, tmp_path)


def test_a_report_that_cannot_be_written_leaves_no_part(tmp_path, monkeypatch):
    with Ledger.open(tmp_path / "ledger.db", config={"name": "none", "studies": {}}, environment={}):
        pass

    def fails(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path)
    assert not list(tmp_path.glob("report*"))
