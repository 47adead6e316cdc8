"""Runs of a lab: several clients at once, of the library or of the server, until each has done all it meant to."""

from __future__ import annotations

import socket

from tests.faults.campaigns import command, environ, settle, write_campaign
from tests.faults.clients import Client, Direct, Door, Rest
from tests.faults.course import Course
from tests.faults.process import Blow, Watch
from tests.faults.shim import FOR_EVER, Shim

CLIENTS = 3


def prepare(course: Course) -> None:
    """Write the campaign's file."""
    write_campaign(course, {"kind": "manual"})


def start(course: Course, faults: Shim, blows: tuple[Blow, ...] = (), pause_s: float = 0.0) -> bool:
    """Let all clients do what is left to be done; say whether a signal hit the first one, or the server."""
    plan, served = course.plan, course.plan.scene == "rest"
    patience = 60 if plan.span == FOR_EVER and not plan.kind.freed else 400
    watch = Watch(course, faults, blows, pause_s)
    port = _free_port() if served else 0
    clients = []

    def work(name: str) -> None:
        settle(plan)
        door: Door = Rest(port) if served else Direct(course.root / "campaign.yaml", course.results)
        Client(name, plan.seed, course.diary, patience).work(door)

    def serve() -> None:
        place = str(course.root / "campaign.yaml"), "--dir", str(course.results)
        command(course, "serve", *place, "--port", str(port))

    for i in range(CLIENTS):
        output = course.root / f"output-{len(course.starts)}-{i}"
        clients.append(watch.start(lambda i=i: work(f"client {i}"), output, environ(course), not served and i == 0))
    output = course.root / f"output-{len(course.starts)}-server"
    watch.wait(clients, (lambda: watch.start(serve, output, environ(course), True)) if served else None)
    course.add({number: watch.ended[number] for number in clients}, watch.ended)
    return watch.blows > 0


def at_end(course: Course) -> bool:
    """Whether there is nothing left to do."""
    return all(ended.code == 0 for ended in course.last[:CLIENTS])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
