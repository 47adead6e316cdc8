"""What every request passes before any page or route sees it: host, origin, token, size; and headers on every answer.

- Host: only names and addresses of this server, so that a stranger's page cannot rebind its own name to it.
- Origin: a browser's request that changes something must come from our own pages. Others may link here, but not load
  anything: what takes seconds to answer could be asked for in their visitors' name, over and over.
- Token: in the header `Authorization: Bearer …`, or as a session cookie. A cookie alone may read and send forms (which
  carry a token of their own, see `pages`), but never change anything through the REST interface.
- Size: bodies are read here, up to a limit, before anything parses them; so are addresses and headers.
- JSON: nested as deep as people nest it, and with every key once.

How many connections there may be, and how long each may take, is in `connections`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from matloop.orchestrator.web.access import SESSION_S, Access
from matloop.orchestrator.web.bodies import objection

BODY_LIMIT = 4 * 2**20
JSON_LIMIT = 2**20
"""Bytes of JSON: a thousand results; it is checked key by key, which takes a hundred times as long as a table."""
SIGN_IN_LIMIT = 16 * 2**10
"""Bytes of what may be sent without the token: the token. Many who send more would take the memory."""
BODY_TIMEOUT_S = 30.0
LONGEST_ADDRESS = 8192
"""Bytes of a path and what is asked for after it."""
MOST_HEADERS = 100
LONGEST_HEADERS = 32 * 2**10
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/login", "/static/", "/icon.svg")
"""What may be read without the token: the form that asks for it, and its looks."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

Refuse = Callable[[Request, int, str], Response]
"""Makes the answer to a request that is turned away: request, status, reason in words."""


class RequestChecks:
    """ASGI middleware around the whole application.

    Args:
        app: what lies behind.
        access: who may come in.
        refuse: makes the answer to those who may not.
    """

    def __init__(self, app: ASGIApp, *, access: Access, refuse: Refuse) -> None:
        self.app = app
        self.access = access
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there are no web sockets here; the rest is the server's own business
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = _Headers(send, static=scope["path"].startswith("/static/"))
        refusal = self._too_long(request) or self._outside(request) or self._without_token(request, answer)
        if refusal is None and request.method not in SAFE:
            limit = JSON_LIMIT if "json" in request.headers.get("content-type", "") else BODY_LIMIT
            limit = SIGN_IN_LIMIT if scope["path"].startswith(OPEN) else limit
            try:
                body = await asyncio.wait_for(_read(request, limit), BODY_TIMEOUT_S)
            except ClientDisconnect:
                return
            except TimeoutError:
                body, refusal = b"", self.refuse(request, 408, "the request came too slowly")
            if body is None:
                refusal = self.refuse(request, 413, f"expected at most {limit // 2**10} kB, got more; send less")
            elif refusal is None and limit == JSON_LIMIT and (text := objection(body)):
                refusal = self.refuse(request, 400, text)
            else:
                receive = _again(body, receive)
        await (refusal or self.app)(scope, receive, answer)

    def _too_long(self, request: Request) -> Response | None:
        """Refusal of a head that no browser or program of ours sends."""
        length = len(request.scope.get("raw_path") or b"") + len(request.scope["query_string"])
        if length > LONGEST_ADDRESS:
            return self.refuse(request, 414, f"expected an address of at most {LONGEST_ADDRESS} bytes, got {length}")
        headers = request.scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > MOST_HEADERS or size > LONGEST_HEADERS:
            expected = f"expected at most {MOST_HEADERS} headers and {LONGEST_HEADERS // 2**10} kB of them"
            return self.refuse(request, 431, f"{expected}, got {len(headers)} and {size // 2**10} kB")
        return None

    def _outside(self, request: Request) -> Response | None:
        """Refusal of a request that was not meant for this server or was made by another site."""
        host = request.headers.get("host", "")
        if not self.access.knows(host):
            return self.refuse(
                request, 400, f"this server does not answer to the name {host[:80]!r}; start it with --allow-host NAME"
            )
        origin = request.headers.get("origin")
        if request.method not in SAFE and origin is not None and not _same_origin(origin, host):
            return self.refuse(request, 403, f"the request was made by a page of {origin[:80]}, not by ours")
        link = request.method in SAFE and request.headers.get("sec-fetch-dest") == "document"
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site") and not link:
            return self.refuse(request, 403, "the request was made by a page of another site")
        return None

    def _without_token(self, request: Request, answer: _Headers) -> Response | None:
        """Refusal of a visitor who has not shown the token; else the session is noted for the pages."""
        path, interface = request.url.path, request.url.path.startswith("/api/")
        session = request.cookies.get(self.access.cookie, "")
        known = bool(session) and self.access.valid(session)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer" and self.access.admits(token.strip())
        if not known and not self.access.required and not interface:
            session, known = self.access.new_session(), True
            answer.cookies.append(cookie(self.access, session))
        request.scope["session"] = session if known else ""
        if not self.access.required or bearer or path.startswith(OPEN):
            return None
        if interface and not (known and request.method in SAFE):
            return self.refuse(request, 401, "expected the header 'Authorization: Bearer TOKEN' with this lab's token")
        if not known:
            if request.method in SAFE:
                return RedirectResponse("/login", 303)
            return self.refuse(request, 401, "you are not signed in any more; sign in and send the form again")
        return None


def cookie(access: Access, session: str) -> str:
    """The Set-Cookie header of a session; an empty one ends it."""
    age = SESSION_S if session else 0
    return f"{access.cookie}={session}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict"


class _Headers:
    """A `send` that puts our headers on the answer."""

    def __init__(self, send: Send, *, static: bool) -> None:
        self.send = send
        self.static = static
        self.cookies: list[str] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if self.static:
                headers["cache-control"] = "no-cache"
            for value in self.cookies:
                headers.append("set-cookie", value)
        await self.send(message)


def _same_origin(origin: str, host: str) -> bool:
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


async def _read(request: Request, limit: int) -> bytes | None:
    """The body; None if it is too large."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > limit:
        return None
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > limit:
            return None
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, and then waits as before."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
