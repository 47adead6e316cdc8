"""People at a lab's doors: each asks, reports, corrects and cancels, and asks again whatever was not acknowledged.

What a client does follows from its number and from what was acknowledged, so that one that was killed goes on where it
was: it repeats what it has no answer to, word for word.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from json import dumps, loads
from pathlib import Path
from typing import Any, Final, Protocol

from matloop.orchestrator.errors import LedgerLocked, LedgerUnwritable
from tests.faults.diary import entries, note

PAUSE_S: Final = 0.05
GAVE_UP: Final = 5
OPERATIONS: Final = 9


class Refused(Exception):
    """The door did not answer, or said that it could not record just now."""


class Door(Protocol):
    """A way into a lab. Everything raises Refused where nothing was acknowledged."""

    def recommend(self, n: int, by: str) -> list[int]: ...
    def tell(self, trial: int, loss: float, by: str, amend: bool) -> int: ...
    def report(self, request: str, x: float, loss: float, by: str) -> int: ...
    def cancel(self, trial: int, by: str) -> int: ...


class Direct:
    """The library; opened again after every refusal, as a notebook would be."""

    def __init__(self, campaign: Path, results: Path) -> None:
        self._campaign, self._results = campaign, results
        self._opened = ExitStack()
        self._lab: Any = None

    def recommend(self, n: int, by: str) -> list[int]:
        return [trial.id for trial in self._do("recommend", n, by)]

    def tell(self, trial: int, loss: float, by: str, amend: bool) -> int:
        return self._told({"trial": trial, "values": {"loss": loss}}, by, amend)

    def report(self, request: str, x: float, loss: float, by: str) -> int:
        return self._told({"request": request, "point": {"x": x}, "values": {"loss": loss}}, by, False)

    def cancel(self, trial: int, by: str) -> int:
        return self._do("cancel", trial, by, "no time").id

    def _told(self, result: dict[str, Any], by: str, amend: bool) -> int:
        from matloop.orchestrator.lab import Result

        return self._do("tell", [Result(**result)], by, amend=amend)[0].id

    def _do(self, what: str, *args: Any, **options: Any) -> Any:
        from matloop.orchestrator.lab import Lab

        try:
            if self._lab is None:
                self._lab = self._opened.enter_context(Lab.open(self._campaign, directory=self._results))
            return getattr(self._lab, what)(*args, **options)
        except (LedgerUnwritable, LedgerLocked) as error:
            self._lab = None
            self._opened.close()
            raise Refused(str(error)) from error


class Rest:
    """The server, over the network."""

    def __init__(self, port: int) -> None:
        self._port = port

    def recommend(self, n: int, by: str) -> list[int]:
        return [found["id"] for found in self._post("recommendations", {"n": n, "by": by})]

    def tell(self, trial: int, loss: float, by: str, amend: bool) -> int:
        return self._told({"trial": trial, "values": {"loss": loss}}, by, amend)

    def report(self, request: str, x: float, loss: float, by: str) -> int:
        return self._told({"request": request, "point": {"x": x}, "values": {"loss": loss}}, by, False)

    def cancel(self, trial: int, by: str) -> int:
        return self._post(f"experiments/{trial}/cancel", {"by": by, "reason": "no time"})["id"]

    def _told(self, result: dict[str, Any], by: str, amend: bool) -> int:
        return self._post("results", {"results": [result], "by": by, "amend": amend})[0]["id"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("POST", f"/api/{path}", dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise Refused(str(error)) from error
        finally:
            with suppress(OSError):
                connection.close()
        if answer.status >= 500:
            raise Refused(f"{answer.status} {text[:300]!r}")
        if answer.status >= 400:
            raise RuntimeError(f"{path} {body}: {answer.status} {text[:500]!r}")
        return loads(text)


@dataclass
class Client:
    """One person.

    Args:
        name: for the record.
        seed: what it does follows from it.
        diary: where it writes down what it means to do and what was acknowledged.
        patience: how often it asks before it gives up.
    """

    name: str
    seed: int
    diary: Path
    patience: int
    pending: list[int] = field(default_factory=list)
    told: dict[int, float] = field(default_factory=dict)

    def work(self, door: Door) -> None:
        """Do all that is left to do; exits with `GAVE_UP` if it is refused for long."""
        wanted, done = {}, set[int]()
        for entry in entries(self.diary):
            if entry.get("by") == self.name and entry["what"] == "wanted":
                wanted[entry["step"]] = entry["call"]
            elif entry.get("by") == self.name and entry["what"] == "acknowledged":
                self._learn(wanted[entry["step"]], entry["answer"])
                done.add(entry["step"])
        for step in range(OPERATIONS):
            if step not in done:
                call = wanted.get(step) or self._choose(step)
                note(self.diary, "wanted", by=self.name, step=step, call=call)
                answer = self._insist(door, call)
                note(self.diary, "acknowledged", by=self.name, step=step, answer=answer, call=call)
                self._learn(call, answer)

    def _choose(self, step: int) -> list[Any]:
        draw = random.Random(f"{self.seed} {self.name} {step}")
        loss = float(draw.getrandbits(32))
        choices = [["recommend", draw.randint(1, 2), self.name]]
        choices += [["report", f"{self.name}/{step}", draw.random(), loss, self.name]]
        choices += [["tell", trial, loss, self.name, False] for trial in self.pending * 2]
        choices += [["cancel", trial, self.name] for trial in self.pending[:1]]
        choices += [["tell", trial, loss, self.name, True] for trial in list(self.told)[:2]]
        return choices[0] if step == 0 else draw.choice(choices)

    def _insist(self, door: Door, call: list[Any]) -> Any:
        for _ in range(self.patience):
            try:
                return getattr(door, call[0])(*call[1:])
            except Refused as error:
                refusal = error
                time.sleep(PAUSE_S)
        print(f"{self.name} gives up: {refusal}", flush=True)
        raise SystemExit(GAVE_UP)

    def _learn(self, call: list[Any], answer: Any) -> None:
        match call:
            case ["recommend", *_]:
                self.pending += answer
            case ["tell", trial, loss, _, _]:
                self.told[trial] = loss
                self.pending = [other for other in self.pending if other != trial]
            case ["report", _, _, loss, _]:
                self.told[answer] = loss
            case ["cancel", trial, _]:
                self.pending.remove(trial)
