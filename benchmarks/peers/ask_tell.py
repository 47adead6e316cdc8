"""Drive other optimisers by ask and tell from another environment: one JSON object a line, in and out.

Started by the Python of `.venv-peers` (`make peers`), so that neither side's packages disturb the other's::

    {"start": {"method": "propulate", "parameters": {"x": ["a", "b"]}, "seed": 0, "workers": 16}}  -> {"ok": true}
    {"ask": 2}                                    -> {"points": [{"x": "a"}, {"x": "b"}]}
    {"tell": [[{"x": "a"}, 0.7]]}                 -> {"ok": true}

A value told is maximised. Another `start` begins another campaign; `start` may also hold `options`, keyword arguments
for the peer's constructor. What cannot be done is answered by {"error": "..."}. Peers run at their own defaults and
asynchronously, as they are meant to be used: told each answer as it comes and asked for one point in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """What a campaign begins with.

    Attributes:
        method: a key of `METHODS`.
        parameters: choices by name.
        seed: of all its randomness.
        workers: evaluations in flight.
        options: keyword arguments for the peer's constructor, above its defaults.
    """

    method: str
    parameters: Mapping[str, Sequence[Any]]
    seed: int
    workers: int
    options: Mapping[str, Any] = field(default_factory=dict)


class Peer(Protocol):
    """One campaign of a peer."""

    def ask(self, n: int) -> list[Point]:
        """Propose n points."""

    def tell(self, results: Iterable[tuple[Point, float]]) -> None:
        """Learn from values, larger is better."""


class DeepHyper:
    """DeepHyper's centralised Bayesian optimisation, and its own ask and tell.

    Its default optimiser of the acquisition ("mixedga") takes seconds per answer; with the option
    `acq_optimizer="sampling"` it takes a tenth of that.
    """

    def __init__(self, start: Start) -> None:
        from deephyper.hpo import CBO, HpProblem

        self._folder = tempfile.TemporaryDirectory()
        problem = HpProblem()
        for name, choices in start.parameters.items():
            problem.add_hyperparameter(list(choices), name)
        self._search = CBO(
            problem,
            random_state=start.seed,
            log_dir=self._folder.name,
            checkpoint_history_to_csv=False,
            **start.options,
        )

    def ask(self, n: int) -> list[Point]:
        """See Peer."""
        return self._search.ask(n)

    def tell(self, results: Iterable[tuple[Point, float]]) -> None:
        """See Peer."""
        self._search.tell([(dict(point), value) for point, value in results])


class Propulate:
    """Propulate's default propagator on one island: every worker breeds from all that has been evaluated.

    Its breeding pool has no default; 2 x workers is what its own examples take (option `pop_size`). Choices are passed
    as integers from 0: its operators draw integers as uniformly as they draw categories, while in version 1.2.2 a
    mutation of a category other than the first parameter's leaves the old choice set beside the new one.
    """

    def __init__(self, start: Start) -> None:
        import mpi4py

        mpi4py.rc.initialize = False  # imported by it, not needed here
        from propulate.population import Individual
        from propulate.utils import get_default_propagator

        self._choices = {name: list(choices) for name, choices in start.parameters.items()}
        self._limits = {name: (0, len(choices) - 1) for name, choices in self._choices.items()}
        options = {"pop_size": 2 * start.workers} | dict(start.options)
        self._propagate = get_default_propagator(limits=self._limits, rng=random.Random(start.seed), **options)
        self._individual = Individual
        self._population: list[Any] = []

    def ask(self, n: int) -> list[Point]:
        """See Peer."""
        children = [self._propagate(self._population) for _ in range(n)]
        return [{name: choices[child[name]] for name, choices in self._choices.items()} for child in children]

    def tell(self, results: Iterable[tuple[Point, float]]) -> None:
        """See Peer."""
        for point, value in results:
            genes = {name: choices.index(point[name]) for name, choices in self._choices.items()}
            individual = self._individual(genes, self._limits)
            individual.loss = -value
            self._population.append(individual)


METHODS: Mapping[str, type] = {"deephyper_cbo": DeepHyper, "propulate": Propulate}


class Server:
    """Answers one request after another, of one campaign at a time."""

    def __init__(self) -> None:
        self._peer: Peer | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a request.

        Raises:
            ValueError: it is not one of the protocol's.
        """
        match request:
            case {"start": given}:
                self._peer = None
                start = Start(**given)
                if start.method not in METHODS:
                    raise ValueError(f"expected a method of {sorted(METHODS)}, got {start.method!r}")
                self._peer = METHODS[start.method](start)
                return {"ok": True}
            case {"ask": int(n)} if self._peer:
                return {"points": self._peer.ask(n)}
            case {"tell": list(results)} if self._peer:
                self._peer.tell([(point, float(value)) for point, value in results])
                return {"ok": True}
        raise ValueError(f"expected start, and then ask or tell; got {sorted(request)}")


def main() -> None:
    """Serve until the input ends."""
    warnings.simplefilter("ignore")  # they repeat themselves at every answer
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a peer prints must not pass for a reply
    server = Server()
    for line in sys.stdin:
        try:
            reply = json.dumps(server.answer(json.loads(line)), default=_plain)
        except Exception as error:
            traceback.print_exc()
            reply = json.dumps({"error": f"{type(error).__name__}: {error}"})
        print(reply, file=replies)


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value that JSON can hold."""
    return value.item()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
