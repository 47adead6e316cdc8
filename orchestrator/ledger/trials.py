"""Every trial of a campaign. What is finished is kept as the text that was recorded, and made a trial when asked for.

Objects take four times the memory of the text that they are decoded from, and a long campaign on a large machine has
millions of trials, of which the loop never looks at most again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from matloop.orchestrator.trial import Failure, Prediction, State, Trial

_scan = json.JSONDecoder().raw_decode  # without the search for white space around the text


def decode(text: str) -> dict[str, Any]:
    """The JSON object that an event's text is."""
    body: dict[str, Any] = _scan(text)[0]
    return body


@dataclass(slots=True)
class _Record:
    """What is on record about one trial; `fields` is the decoded proposal, kept while it runs."""

    study: str
    proposed_at: float
    proposal: bytes
    fields: dict[str, Any] | None
    attempt: int = 1
    state: State = "running"
    result: bytes = b""


class Trials(Sequence[Trial]):
    """Trials by id, in order of proposal.

    Args:
        keep: hold on to the objects, for those who go through them many times over.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._records: list[_Record] = []
        self._running: dict[int, None] = {}
        self._kept: dict[int, Trial] = {}
        self._keep = keep

    def propose(self, study: str, at: float, text: str) -> tuple[int, int]:
        """Append one that runs, or that is reported and about to be finished.

        Args:
            study: its name.
            at: Unix time, s.
            text: JSON object with what the strategy proposed.

        Returns:
            The number of the ask that it came from, -1 if from none; and its own within its study.
        """
        fields = _proposed(text)
        ask, number, encoded = int(fields["ask"]), int(fields["number"]), text.encode()
        self._running[len(self)] = None
        self._records.append(_Record(study, at, encoded, fields))
        return ask, number

    def restart(self, trial: int, attempt: int) -> None:
        """Another attempt of one that runs."""
        self._records[trial].attempt = attempt

    def finish(self, trial: int, state: State, text: str) -> None:
        """One that runs has its result, a JSON object as text; where it does not have that form, nothing changes."""
        record = self._records[trial]
        made = self._make(trial, state, text)
        record.state, record.result, record.fields = state, text.encode(), None
        if not self._keep:
            self._kept.clear()
        self._kept[trial] = made  # the writer is about to ask for it
        del self._running[trial]

    def amend(self, trial: int, state: State, text: str) -> None:
        """One that is finished has another result; as `finish`."""
        record = self._records[trial]
        made = self._make(trial, state, text)
        record.state, record.result = state, text.encode()
        if trial in self._kept:
            self._kept[trial] = made

    def running(self, study: str) -> list[Trial]:
        """Those of one study that have no result yet, in order of proposal."""
        return [self[i] for i in self._running if self._records[i].study == study]

    def is_running(self, trial: int) -> bool:
        """Whether there is such a trial, without a result yet."""
        return trial in self._running

    def state(self, trial: int) -> State:
        """What became of it, without making it a trial."""
        return self._records[trial].state

    def attempt(self, trial: int) -> int:
        """Number of its last attempt, from 1."""
        return self._records[trial].attempt

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = index if index >= 0 else index + len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"expected a trial in 0 to {len(self) - 1}, got {index}")
        return self._kept[number] if number in self._kept else self._make(number)

    def __iter__(self) -> Iterator[Trial]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trials | list) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _make(self, number: int, state: State | None = None, text: str = "") -> Trial:
        """A trial as it is on record, or as it is to be."""
        record = self._records[number]
        fields = record.fields if record.fields is not None else _proposed(record.proposal.decode())
        if state is None:
            state, text = record.state, record.result.decode()
        result = _answered(text) if text else {}
        if "point" in result:  # a person did something else
            planned = fields["point"] if fields["ask"] >= 0 else None
            fields = {**fields, "planned": planned, "point": result.pop("point")}
        return Trial(
            **fields,
            id=number,
            study=record.study,
            proposed_at=record.proposed_at,
            attempt=record.attempt,
            state=state,
            **result,
        )


def _proposed(text: str) -> dict[str, Any]:
    body = decode(text)
    if "prediction" in body:
        found = body["prediction"]
        spans = {name: (float(low), float(high)) for name, (low, high) in found.get("interval", {}).items()}
        body["prediction"] = Prediction(mean=found["mean"], std=found["std"], interval=spans)
    if "parents" in body:
        body["parents"] = tuple(body["parents"])
    return body


def _answered(text: str) -> dict[str, Any]:
    body = decode(text)
    for name in ("amendment", "completion"):  # who corrected or completed it is about the record
        body.pop(name, None)
    if "failure" in body:
        body["failure"] = Failure(**body["failure"])
    return body
