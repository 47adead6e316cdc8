"""What is done in a run, and which fault strikes it where: all of it follows from the run's number."""

from __future__ import annotations

import errno
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.faults.driver import ODD
from tests.faults.shim import FOR_EVER

CAMPAIGNS: Final = ("serial", "local")
DOORS: Final = ("lab", "rest")
SCENES: Final = (*CAMPAIGNS, *DOORS)
TALKING: Final = ("local", "rest")
"""Scenes in which processes speak to each other."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: for people.
        scenes: where it may strike.
        calls: system calls that are struck; a moment is chosen among all of a run's.
        action: what is done to them; see `matloop.tests.faults.shim`.
        error: that they fail with.
        most: calls struck in a row, at most.
        signals: sent at random moments to one process, one after the other.
        role: whose calls are struck, or who gets the signals.
        pause_s: how long a process that is stopped stays so, and the ledger is held, s, at most.
        freed: whether calls cease to fail after a while.
        odd: group of odd results that a driver returns.
        codes: exit codes that the struck run may have; a signal's number, negative, for one that was killed.
        spares: whether no evaluation may be lost or repeated over it as long as the run does not give up.
        held: whether another program holds the ledger for a while.
        useless: whether the driver fails at everything, until it is repaired after the first start.
    """

    name: str
    scenes: tuple[str, ...] = CAMPAIGNS
    calls: tuple[str, ...] = ()
    action: str = "fail"
    error: int = 0
    most: int = 1
    signals: tuple[int, ...] = ()
    role: str = "any"
    pause_s: float = 0.0
    freed: bool = False
    odd: str = ""
    codes: frozenset[int] = frozenset({0})
    spares: bool = False
    held: bool = False
    useless: bool = False


FILES: Final = ("write", "fsync", "rename", "open", "unlink")
OUT_OF_REACH: Final = frozenset({0, 5})
KILLED: Final = frozenset({0, -signal.SIGKILL})


def _failing(name: str, calls: Sequence[str], error: int, most: int = 1, **more: object) -> Kind:
    scenes = more.pop("scenes", SCENES)
    options: dict[str, object] = {"codes": OUT_OF_REACH, "spares": True, **more}
    return Kind(name=name, scenes=scenes, calls=tuple(calls), error=error, most=most, **options)  # type: ignore[arg-type]


def _killing(name: str, calls: Sequence[str], action: str = "kill") -> Kind:
    return Kind(name=name, scenes=SCENES, calls=tuple(calls), action=action, codes=KILLED)


NOTHING: Final = Kind(name="nothing", scenes=SCENES, spares=True)

KINDS: Final[Sequence[Kind]] = (
    NOTHING,
    _failing("write: EIO", ["write"], errno.EIO, 3),
    _failing("fsync: EIO", ["fsync"], errno.EIO, 3),
    _failing("rename: EACCES", ["rename"], errno.EACCES, 2, scenes=CAMPAIGNS),
    _failing("open: EMFILE", ["open"], errno.EMFILE, 3),
    _failing("unlink: EIO", ["unlink"], errno.EIO),
    _failing("lock: ENOLCK", ["lock"], errno.ENOLCK, 2),
    _failing("disk full, then freed", ["write", "open", "rename"], errno.ENOSPC, FOR_EVER, pause_s=2.0, freed=True),
    _failing("disk out of reach, then back", FILES, errno.EIO, FOR_EVER, pause_s=2.0, freed=True),
    _failing("disk full for good", ["write", "open", "rename"], errno.ENOSPC, FOR_EVER),
    _failing("disk read-only for good", FILES, errno.EROFS, FOR_EVER),
    _failing("interrupted call", ["write", "fsync", "open"], errno.EINTR, 3),
    Kind(name="short write", scenes=SCENES, calls=("write",), action="short", most=20, spares=True),
    _killing("SIGKILL at a write", ["write"]),
    _killing("SIGKILL in a write", ["write"], "torn"),
    _killing("SIGKILL at an fsync", ["fsync"]),
    _killing("SIGKILL at a rename", ["rename", "unlink"]),
    _killing("SIGKILL at an open", ["open", "lock"]),
    Kind(name="send: EPIPE", scenes=TALKING, calls=("send",), error=errno.EPIPE, most=2),
    Kind(name="SIGKILL at a send", scenes=TALKING, calls=("send",), action="kill", codes=KILLED),
    Kind(name="SIGKILL in a send", scenes=TALKING, calls=("send",), action="torn", codes=KILLED),
    Kind(name="connect: ECONNREFUSED", scenes=("rest",), calls=("connect",), error=errno.ECONNREFUSED, most=5),
    Kind(name="ledger held by another", scenes=SCENES, held=True, pause_s=1.5, spares=True),
    Kind(name="SIGKILL", scenes=SCENES, signals=(signal.SIGKILL,), codes=KILLED, role="manager"),
    Kind(name="SIGKILL of a worker", scenes=("local",), signals=(signal.SIGKILL,), role="worker"),
    Kind(name="SIGSTOP, SIGCONT", scenes=SCENES, calls=FILES, action="stop", pause_s=0.6, spares=True),
    Kind(name="SIGSTOP, SIGCONT at a send", scenes=TALKING, calls=("send",), action="stop", pause_s=0.6),
    Kind(name="TERM", signals=(signal.SIGTERM,), codes=frozenset({0, 130, 143}), role="manager", spares=True),
    Kind(name="two TERMs", signals=(signal.SIGTERM,) * 2, codes=frozenset({0, 130, 143}), role="manager"),
    Kind(name="two INTs", signals=(signal.SIGINT,) * 2, codes=frozenset({0, 130}), role="manager"),
    Kind(name="driver broken, then repaired", useless=True, codes=frozenset({3, 4})),
    Kind(name="odd text", odd="text", codes=frozenset({0, 3})),
    Kind(name="odd numbers", odd="numbers", codes=frozenset({0, 3})),
    Kind(name="odd shapes", odd="shapes", codes=frozenset({0, 3})),
    Kind(name="odd ends", odd="ends", codes=frozenset({0, 3})),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run.

    Attributes:
        seed: its number; everything else follows from it.
        scene: where it takes place.
        network: whether the ledger takes the folder for one on a network file system.
        repeatable: whether the driver says so.
        artifacts: whether it returns some.
        trials: to be done.
        sleep_s: how long an evaluation takes, s.
        moment: when the fault strikes, as a share of the calls or of the time of a run without one.
        span: calls that are struck in a row.
        gap_s: between two signals, s.
        odd: oddity by number of trial.
        program: whether the driver is a program, and not a function.
        again: whether the fault strikes the second start as well.
        reader: whether somebody reads the ledger all the time.
        broken: what is broken on purpose, to see that it is noticed; see `tests/faults/broken.py`.
    """

    seed: int
    scene: str
    kind: Kind
    network: bool
    repeatable: bool
    artifacts: bool
    trials: int
    sleep_s: float
    moment: float
    span: int
    gap_s: float
    odd: Mapping[int, str] = field(default_factory=dict)
    program: bool = False
    again: bool = False
    reader: bool = False
    broken: str = ""


def plan_of(seed: int, *, kinds: Sequence[Kind] = KINDS) -> Plan:
    """The run of that number: kinds of faults take turns, and so do the scenes of a kind."""
    kind, turn = kinds[seed % len(kinds)], seed // len(kinds)
    draw = random.Random(f"run {seed}")
    scene = kind.scenes[turn % len(kind.scenes)]
    trials = draw.randint(4, 12)
    fitting = [name for name, oddity in ODD.items() if oddity.group == kind.odd]
    fitting = [name for name in fitting if scene == "local" or not ODD[name].alone]
    return Plan(
        seed=seed,
        scene=scene,
        kind=kind,
        network=draw.random() < 0.3,
        repeatable=draw.random() < 0.5,
        artifacts=draw.random() < 0.6,
        trials=trials,
        sleep_s=draw.choice((0.0, 0.002, 0.01)),
        moment=draw.random(),
        span=min(kind.most, FOR_EVER) if kind.most == FOR_EVER else draw.randint(1, kind.most),
        gap_s=draw.choice((0.0, 0.001, 0.02, 0.1)),
        odd={number: draw.choice(fitting) for number in draw.sample(range(trials), k=min(3, trials - 1))}
        if fitting
        else {},
        program=draw.random() < 0.25 and scene in CAMPAIGNS and not fitting and kind.error != errno.EMFILE,
        again=draw.random() < 0.25 and bool(kind.calls or kind.signals),
        reader=draw.random() < 0.3,
    )
