"""`matloop serve`: a lab's REST interface and web page, for this machine or, with a token, for the network."""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import EXTRAS, ConfigError, MissingExtra

try:
    import python_multipart  # noqa: F401  forms need it
    import uvicorn

    from matloop.orchestrator.web.access import Access, is_local, names, read_token
    from matloop.orchestrator.web.app import create
    from matloop.orchestrator.web.connections import Connection, Connections, Limits, within_files
    from matloop.orchestrator.web.quiet import QuietHandler
except ModuleNotFoundError as error:
    if error.name is None or error.name not in EXTRAS:
        raise
    raise MissingExtra(error.name) from error

from rich.console import Console

from matloop.orchestrator.cli.commands.opening import opened
from matloop.orchestrator.lab import Lab

TOKEN = "serve.token"
"""File in the folder of results that the token is kept in, and that sessions are signed with."""

QUEUE = 1024
"""Connections that the system holds until they are accepted."""

AT_ONCE = 64
"""Connections that are accepted before those that are too many are closed; each needs a file descriptor until then."""


def serve(
    file: Path,
    console: Console,
    *,
    study: str | None = None,
    directory: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    allow_hosts: Sequence[str] = (),
    accept_changes: bool = False,
    connections: int = 800,
    per_address: int = 200,
) -> None:
    """Serve until interrupted.

    Args:
        file: the campaign file, or the folder of its results.
        console: where the address is printed.
        study: which of its studies; may be left out if one alone has the driver `manual`.
        directory: for results; `runs/NAME` beside the file if left out.
        host: address or name to listen at; beyond this machine, visitors need the token.
        port: TCP port; 0 for any free one.
        token_file: file with the token, which is then asked for on this machine too; by default one is made in the
            folder of results.
        allow_hosts: more host names under which browsers may reach the server.
        accept_changes: go on although the campaign file has changed.
        connections: open at once, at most.
        per_address: of those, from one address.

    Raises:
        ConfigError: the campaign file, the address or the token file is wrong.
        LedgerLocked: another process is writing for long.
    """
    local = is_local(host)
    known = names(allow_hosts, own=not local)
    with opened(file, study, directory, accept_changes=accept_changes, begin=console) as lab:
        secret, new = read_token(token_file or lab.directory / TOKEN, make=True)
        access = Access(
            secret=secret,
            required=not local or token_file is not None,
            open_to_network=not local,
            names=known,
        )
        with _listen(host, port) as listening:
            _announce(console, lab, access, listening, token_file or lab.directory / TOKEN, new)
            limits = within_files(Limits(per_address=min(per_address, connections), in_all=connections))
            with _logging() as handler, contextlib.suppress(KeyboardInterrupt):  # the way to stop it
                _Server(_config(create(lab, access), Connections(limits), handler)).run(sockets=[listening])


def _config(application: Any, connections: Connections, handler: QuietHandler) -> uvicorn.Config:
    async def report() -> None:
        handler.report()

    return uvicorn.Config(
        application,
        http=functools.partial(Connection, connections),  # type: ignore[arg-type]  # a class with one argument given
        ws="none",
        loop="asyncio",
        backlog=AT_ONCE,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        callback_notify=report,
        timeout_notify=10,
    )


class _Server(uvicorn.Server):
    """Accepts few connections at a time, but lets many wait."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(QUEUE)


@contextlib.contextmanager
def _logging() -> Iterator[QuietHandler]:
    """The log of the process, which visitors cannot make grow."""
    root, handler = logging.getLogger(), QuietHandler()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=QUEUE)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen at {host}, port {port}: {error}; choose others with --host and --port"
        ) from None


def _announce(console: Console, lab: Lab, access: Access, listening: socket.socket, token: Path, new: bool) -> None:
    """Say where the server is, and the token when it is new."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(
        host, f"[{host}]" if ":" in host else host
    )
    lines = [f"{lab.name} → {lab.directory}", f"http://{shown}:{port}"]
    if access.required:
        lines.append(f"token: {access.secret if new else 'as before'}, kept in {token}")
    for line in [*lines, "Ctrl-C stops it; everything acknowledged is on the disk."]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
