"""`matloop serve`: a lab's REST interface and web page, for this machine or, with a token, for the network."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

from matloop.orchestrator.errors import EXTRAS, ConfigError, MissingExtra

try:
    import python_multipart  # noqa: F401  forms need it
    import uvicorn

    from matloop.orchestrator.web.access import Access, is_local, names, read_token
    from matloop.orchestrator.web.app import create
except ModuleNotFoundError as error:
    if error.name is None or error.name not in EXTRAS:
        raise
    raise MissingExtra(error.name) from error

from rich.console import Console

from matloop.orchestrator.cli.commands.opening import opened
from matloop.orchestrator.lab import Lab

TOKEN = "serve.token"
"""File in the folder of results that the token is kept in, and that sessions are signed with."""


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

    Raises:
        ConfigError: the campaign file, the address or the token file is wrong.
        LedgerLocked: another process is writing for long.
    """
    with opened(file, study, directory, accept_changes=accept_changes, begin=console) as lab:
        secret, new = read_token(token_file or lab.directory / TOKEN, make=True)
        local = is_local(host)
        access = Access(
            secret=secret,
            required=not local or token_file is not None,
            open_to_network=not local,
            names=names(allow_hosts, own=not local),
        )
        with _listen(host, port) as listening:
            _announce(console, lab, access, listening, token_file or lab.directory / TOKEN, new)
            config = uvicorn.Config(
                create(lab, access),
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
            with contextlib.suppress(KeyboardInterrupt):  # the way to stop it
                uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
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
