"""What an earlier study found, as a later one uses it: its best point, its trials, a data set made of them.

`Recorded` reads it from the history. `Rehearsal` makes it up from random points, so that a whole campaign can be
built, and impossible shapes found, before anything has been measured.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import MatloopError, OutOfReach
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.protocols import Encodable, Past, Rendering, Space, require
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Point, Trial, best, comparable, complete, seconds

REHEARSED = 32  # random points in a made-up data set

Described = Callable[[str], tuple[Space, tuple[Objective, ...]]]
"""Space and objectives of a study, by name."""


class Outcomes(Protocol):
    """What can be asked about an earlier study, by name.

    Attributes:
        store: of the campaign's artifacts.
    """

    @property
    def store(self) -> ArtifactStore: ...

    def best(self, study: str) -> Point | None:
        """The point with the best value of the first objective; None if there is none within the limits."""
        ...

    def trials(self, study: str) -> tuple[Trial, ...]:
        """Finished trials, in the order in which they were told."""
        ...

    def seconds(self, study: str) -> float:
        """That its evaluations have taken, on all workers together."""
        ...

    def dataset(self, study: str) -> Path:
        """An .npz file: `x` (n, *shape) float32 network inputs, `y` (n, m) float64 values, `names` (m,)."""
        ...

    def past(self, study: str, others: Sequence[str]) -> Past:
        """What a study, and others whose trials its strategy is told of, have on record."""
        ...

    def known_files(self) -> Mapping[str, str]:
        """What was recorded of the files that the campaign names when it was last opened, by their place in it."""
        ...


class Recorded:
    """Outcomes read from the ledger's history."""

    def __init__(self, history: History, store: ArtifactStore, describe: Described) -> None:
        self.history, self.store, self.describe = history, store, describe

    def best(self, study: str) -> Point | None:
        """See `Outcomes`."""
        objectives = self.describe(study)[1]
        found = best(self.history.of(study), objectives[0], objectives)
        return None if found is None else found.point

    def trials(self, study: str) -> tuple[Trial, ...]:
        """See `Outcomes`."""
        return tuple(self.history.told(study))

    def seconds(self, study: str) -> float:
        """See `Outcomes`."""
        return sum(seconds(trial) for trial in self.history.of(study))

    def past(self, study: str, others: Sequence[str]) -> Past:
        """See `Outcomes`."""
        history, names = self.history, (study, *others)

        def points() -> Iterator[Point]:
            return (trial.point for trial in history.trials if trial.study in names)

        configs = (session.config.get("studies", {}).get(study, {}) for session in history.sessions)
        return Past(points, [config["space"] for config in configs if config.get("space")])

    def known_files(self) -> Mapping[str, str]:
        """See `Outcomes`."""
        found: Mapping[str, str] = self.history.sessions[-1].config.get("files", {}) if self.history.sessions else {}
        return found

    def dataset(self, study: str) -> Path:
        """See `Outcomes`; rows are in order of proposal, so that the same answers give the same file.

        Raises:
            MatloopError: no trial of the study was answered.
            OutOfReach: the artifact store cannot be written.
        """
        space, objectives = self.describe(study)
        answered = [t for t in comparable(self.history.of(study)) if complete(t, objectives)]
        if not answered:
            raise MatloopError(f"study {study!r} has no answered trial to make a data set of; see `matloop status`")
        y = [[(t.values or {})[o.name] for o in objectives] for t in answered]
        x = network_inputs(space, [t.point for t in answered])
        content = pack(x, np.array(y, dtype=np.float64), [o.name for o in objectives])
        try:
            return self.store.path(self.store.save(content)).absolute()
        except OSError as error:
            raise OutOfReach(
                f"cannot store the data set made of study {study!r} in {self.store.folder}: {error.strerror or error}"
            ) from error


class Rehearsal:
    """Outcomes made up from random points.

    Args:
        folder: where made-up data sets are written; the caller removes it.
        describe: see `Described`.
    """

    def __init__(self, folder: Path, describe: Described) -> None:
        self.folder, self.describe = folder, describe
        self.store = ArtifactStore(folder / "artifacts")

    def best(self, study: str) -> Point | None:
        """See `Outcomes`."""
        return self.describe(study)[0].sample(derive("rehearsal", study))

    def trials(self, study: str) -> tuple[Trial, ...]:
        """See `Outcomes`; none, as before any measurement."""
        return ()

    def seconds(self, study: str) -> float:
        """See `Outcomes`; none, as before any measurement."""
        return 0.0

    def past(self, study: str, others: Sequence[str]) -> Past:
        """See `Outcomes`; none, as before any measurement."""
        return Past()

    def known_files(self) -> Mapping[str, str]:
        """See `Outcomes`; none, as before the first session."""
        return {}

    def dataset(self, study: str) -> Path:
        """See `Outcomes`."""
        space, objectives = self.describe(study)
        rng = derive("rehearsal", study)
        x = network_inputs(space, [space.sample(rng) for _ in range(REHEARSED)])
        path = self.folder / f"{study}.npz"
        path.write_bytes(pack(x, rng.normal(size=(REHEARSED, len(objectives))), [o.name for o in objectives]))
        return path


def network_inputs(space: Space, points: Sequence[Point]) -> npt.NDArray[np.float32]:
    """What a network sees of points: their image where the space renders one, else their encoding.

    Returns:
        (n, *shape) float32; (n, d) where the space does not render.
    """
    encodable = require(space, Encodable, "a data set made from a study")  # type: ignore[type-abstract]
    x = encodable.encode(points)
    if not isinstance(space, Rendering):
        return x.astype(np.float32)
    import torch

    with torch.no_grad():
        chunks = [space.render(torch.as_tensor(x[i : i + 256])).float().numpy() for i in range(0, len(x), 256)]
    return np.concatenate(chunks)


def pack(x: npt.NDArray[Any], y: npt.NDArray[Any], names: Sequence[str]) -> bytes:
    """Bytes of an .npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, x=x, y=y, names=np.array(names))
    return buffer.getvalue()
