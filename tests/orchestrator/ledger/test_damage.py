"""Whatever has happened to the bytes of a ledger, all that reads it says so in one message, which names the file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.repair import repair
from matloop.orchestrator.trial import Answer, Proposal

TRIALS = 8


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "ledger.db"
    with Ledger.open(path, config={"name": "c", "set": "{braces} and 100 %"}, environment={}) as ledger:
        for number in range(TRIALS):
            trial = ledger.propose("a", Proposal(point={"n": number}, reason="r" * 400), seed=1, ask=number)
            ledger.answer(trial, Answer(values={"y": float(number)}, started_at=1.0, finished_at=2.0))
    return path.read_bytes()


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Allows an error of the ledger that says which file it is about."""
    refused: LedgerError | None = None
    try:
        yield
    except LedgerError as error:
        refused = error
    assert refused is None or str(path) in str(refused)


def flipped(content: bytes, draw: random.Random, first: int, last: int, most: int) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, most)):
        changed[draw.randrange(first, min(last, len(changed)))] ^= draw.choice((1, 0x80, 0xFF))
    return bytes(changed)


def zeroed(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    size = draw.choice((16, 512, 4096))
    return content[:start] + bytes(len(content[start : start + size])) + content[start + size :]


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    lambda content, draw: flipped(content, draw, 0, 100, 3),  # the header
    lambda content, draw: flipped(content, draw, 3900, 4096, 20),  # what the tables are
    lambda content, draw: flipped(content, draw, 4096, len(content), 40),
    lambda content, draw: content[: draw.randrange(1, len(content))],
    lambda content, draw: content[draw.randrange(1, 5000) :],
    zeroed,
]


@pytest.mark.parametrize("seed", range(60))
def test_damage_of_every_kind_is_one_message(sound: bytes, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    path, copy = tmp_path / "ledger.db", tmp_path / "copy" / "ledger.db"
    damaged = DAMAGES[seed % len(DAMAGES)](sound, draw)
    path.write_bytes(damaged)
    copy.parent.mkdir()
    with naming_the_file(path):
        assert read(path).last_seq
    with naming_the_file(path):
        repaired = repair(path, copy).history
        assert read(copy).trials == repaired.trials
    assert path.read_bytes() == damaged
    with naming_the_file(path):
        Ledger.open(path, config={"name": "c"}, environment={}, accept_change=True).close()


def test_text_that_is_none_in_a_row_is_damage_with_a_short_reason(sound: bytes, tmp_path: Path) -> None:
    """SQLite quotes the row, whose braces are no places to fill in."""
    path = tmp_path / "ledger.db"
    path.write_bytes(sound.replace(b"{braces} and", b"{braces} \xff\xfed", 1))
    with pytest.raises(LedgerCorrupt, match=r"is damaged: .*matloop repair") as caught:
        read(path)
    assert len(caught.value.why) < 100


def test_the_end_of_a_session_whose_beginning_is_lost_is_left_out_with_the_reason(tmp_path: Path, sound: bytes) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    path.write_bytes(sound.replace(b'"name":"c"', b'"name":"d"', 1))
    done = repair(path, copy)
    assert done.unreadable == [1] and [drop.event.kind for drop in done.dropped] == ["closed"]
    assert "of which no beginning is known" in done.dropped[0].why
    assert len(read(copy).finished) == TRIALS
