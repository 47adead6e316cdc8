"""Malformed requests without end: valid ones with at least one definite fault, and random damage besides."""

from __future__ import annotations

import copy
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode


@dataclass
class Call:
    """One request; `body` is JSON to be, `content` what is sent."""

    method: str
    path: str
    body: Any = None
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


POINT = {"temperature": 512.5, "solvent": "water", "hours": 3}
RESULTS = {
    "by": "Ana",
    "results": [
        {"trial": 0, "point": POINT, "values": {"yield": 61.5}, "noise": {"yield": 0.8}, "note": "wet", "cost": 2.0},
        {"trial": 1, "failure": "cracked"},
        {"point": POINT, "values": {"yield": 5}, "request": "robot 1"},
    ],
}
JSON_CALLS = [
    ("/api/results", RESULTS),
    (
        "/api/recommendations",
        {"n": 2, "by": "Ana", "fixed": {"solvent": ["water"], "hours": {"low": 2}}, "at_most": {"hours": 2}},
    ),
    ("/api/experiments/0/cancel", {"by": "Ana", "reason": "out of precursor"}),
    ("/api/experiments/0/void", {"by": "Ana", "reason": "out of precursor"}),
]
TABLE = [
    ["trial", "temperature (K)", "solvent", "hours (h)", "yield (%)", "yield ±", "failed", "note"],
    ["0", "512.5", "water", "3", "61.5", "0.8", "", "wet"],
    ["1", "", "", "", "", "", "cracked", ""],
]
FORMS = [
    "/recommend",
    "/experiments",
    "/experiments/0/result",
    "/experiments/1/failure",
    "/experiments/0/cancel",
    "/experiments/0/void",
    "/csv",
]
PATHS = ["/api/study", "/api/experiments", "/api/experiments/0", "/api/outlook", "/api/version", "/api/next.csv"]
JUNK: list[Any] = [
    [],
    {},
    [[]],
    {"a": {}},
    "",
    "\x00",
    "\ud800",
    "x" * 12_000,
    -1,
    1e308,
    10**30,
    10**400,
    "NaN",
    "2026-01-01",
]
NOT_NUMBERS = ["5", "", [], {}, [5], True, float("nan"), float("inf"), -float("inf"), 10**400]


def calls(rng: random.Random) -> Iterator[Call]:
    """Endless; each has a fault for which it must be refused."""
    while True:
        yield rng.choice([_json, _json, _json, _text, _text, _csv, _form, _elsewhere, _stranger])(rng)


def _json(rng: random.Random) -> Call:
    """Right shape, one value wrong; other values damaged at random."""
    path, body = rng.choice(JSON_CALLS)
    call = Call("POST", path, copy.deepcopy(body))
    fault = rng.choice(_FAULTS[path])
    call.fault = f"{path} {fault.__name__}"
    fault(call.body, rng)
    content = json.dumps(call.body, ensure_ascii=rng.random() < 0.5)
    call.content = content.encode("utf-8", "surrogatepass")
    call.headers["content-type"] = "application/json"
    return call


def _text(rng: random.Random) -> Call:
    """Not JSON at all, or not declared as such."""
    path, body = rng.choice(JSON_CALLS)
    text = json.dumps(body).encode()
    kind = rng.choice(["cut", "noise", "bytes", "deep", "type", "array", "literal", "digits"])
    content = {
        "cut": text[: rng.randrange(len(text))],
        "noise": text[: (at := rng.randrange(1, len(text)))] + b"\xff\xfe" + text[at:],
        "bytes": rng.randbytes(rng.randrange(1, 200)),
        "deep": (b"[" if rng.random() < 0.5 else b'{"a":') * rng.choice([50, 5000, 100_000]),
        "type": text,
        "array": b"[" + text + b"]",
        "literal": rng.choice([b"null", b"1", b'"x"', b"NaN", b"-Infinity", b"tru"]),
        "digits": b'{"n": ' + b"9" * 6000 + b"}",
    }[kind]
    declared = rng.choice(["text/plain", "application/xml", "multipart/form-data", ""]) if kind == "type" else ""
    headers = {"content-type": declared or "application/json"}
    if kind == "type" and not declared:
        headers = {}
    return Call("POST", path, content=content, headers=headers, fault=f"{path} {kind}")


def _csv(rng: random.Random) -> Call:
    """A table with a wrong cell, title or shape."""
    table = [list(row) for row in TABLE]
    kind = rng.choice(["cell", "title", "twice", "quote", "bytes", "empty", "type", "query", "big"])
    path, declared = "/api/csv", "text/csv"
    if kind == "cell":
        column = rng.choice([0, 1, 2, 3, 4, 5])
        large = "1000000" if column != 5 else "1e101"  # a standard deviation may be a million
        table[1][column] = rng.choice(["x", "1e999", "nan", "--", "1,2,3", "\x00", "𝟙𝟚?", "1" * 400, "-7", large])
    elif kind == "title":
        table[0][rng.randrange(6)] += rng.choice([" (furlong)", "x", "%", "("])
    elif kind == "twice":
        table[0][7] = table[0][rng.randrange(7)]
    elif kind == "type":
        declared = rng.choice(["application/json", "text/plain", ""])
    elif kind == "query":
        path += "?" + rng.choice(["amend=perhaps", "by=" + "x" * 201, "allow_outside=%00", "by=%00"])
    content = "\n".join(",".join(row) for row in table).encode("utf-8", "replace")
    if kind == "quote":
        content = content.replace(b"61.5", b'"61.5', 1)
    elif kind == "bytes":
        content = b"\xff\xfe" + rng.randbytes(99)
    elif kind == "empty":
        content = rng.choice([b"", b"\n\n", b"\xef\xbb\xbf", b",,,\n"])
    elif kind == "big":
        content = b"trial\n" + b"1\n" * (3 * 2**20)
    headers = {"content-type": declared} if declared else {}
    return Call("POST", path, content=content, headers=headers, fault=f"csv {kind}")


def _form(rng: random.Random) -> Call:
    """A form of nobody's session, or no form."""
    fields = {"csrf": rng.choice(["", "0" * 64, "\x00", "é" * 64]), "n": "1", "value.yield": "5", "by": "Mallory"}
    content = urlencode(fields).encode() if rng.random() < 0.7 else rng.randbytes(rng.randrange(300))
    kind = rng.choice(
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "application/json",
        ]
    )
    path = rng.choice([*FORMS, "/logout"])
    return Call("POST", path, content=content, headers={"content-type": kind}, fault=f"form {kind} {path}")


def _elsewhere(rng: random.Random) -> Call:
    """A method, path or query that there is not."""
    kind = rng.choice(["method", "path", "id", "query"])
    if kind == "method":
        return Call(rng.choice(["PUT", "DELETE", "PATCH", "TRACE", "BREW"]), rng.choice(PATHS), fault="method")
    if kind == "path":
        noise = "".join(rng.choices(string.printable, k=rng.randrange(1, 60)))
        return Call(
            rng.choice(["GET", "POST"]), f"/api/-{quote(noise, safe='/.%' if rng.random() < 0.3 else '')}", fault="path"
        )
    if kind == "id":
        number = rng.choice(["-1", "x", "1e3", "99999", "9" * 5000, "0x1", "%00", "..", "1.5", "٣x"])
        call = rng.choice([("GET", f"/api/experiments/{number}"), ("POST", f"/api/experiments/{number}/cancel")])
        return Call(*call, content=b"{}", headers={"content-type": "application/json"}, fault=f"id {number[:9]}")
    query = rng.choice(
        ["state=done", "state=", "start=-1", "start=x", "limit=0", "limit=9999999", "limit=1.5", "start=%00"]
    )
    return Call("GET", f"/api/experiments?{query}", fault=f"query {query}")


def _stranger(rng: random.Random) -> Call:
    """A valid request that comes from the wrong place."""
    path, body = rng.choice(JSON_CALLS)
    header = rng.choice(
        [
            ("host", rng.choice(["evil.example", "", "localhost.evil.example", "[::", "a b", "192.0.2.1"])),
            ("origin", rng.choice(["https://evil.example", "null", "http://[", "http://localhost:81", "file://"])),
            ("sec-fetch-site", "cross-site"),
        ]
    )
    headers = {"content-type": "application/json", header[0]: header[1]}
    return Call("POST", path, content=json.dumps(body).encode(), headers=headers, fault=f"{header[0]} {header[1]}")


def _result(body: Any, rng: random.Random) -> dict[str, Any]:
    return rng.choice(body["results"])


def unknown_key(body: Any, rng: random.Random) -> None:
    key = "".join(rng.choices(string.ascii_letters + "\x00é", k=rng.randrange(1, 20))) + "_"
    target = body if "results" not in body or rng.random() < 0.5 else _result(body, rng)
    target[key] = rng.choice(JUNK)


def wrong_text(body: Any, rng: random.Random) -> None:
    name = rng.choice([key for key in body if key in ("by", "reason")])
    body[name] = rng.choice([5, None, [], {}, True, "x" * 12_000, "\x00", "a\x1bb", "\ud800"])


def wrong_count(body: Any, rng: random.Random) -> None:
    body["n"] = rng.choice([0, -1, 101, 1.5, "2", None, [], True, 10**30, float("nan")])


def wrong_value(body: Any, rng: random.Random) -> None:
    body["results"][0]["values"]["yield"] = rng.choice([*NOT_NUMBERS, None, 100.5, -1, 1e308])


def wrong_noise(body: Any, rng: random.Random) -> None:
    body["results"][0]["noise"]["yield"] = rng.choice([*NOT_NUMBERS, None, -0.1])


def wrong_cost(body: Any, rng: random.Random) -> None:
    body["results"][0]["cost"] = rng.choice([*NOT_NUMBERS, -1])


def wrong_trial(body: Any, rng: random.Random) -> None:
    _result(body, rng)["trial"] = rng.choice([-1, 99, 1.5, "0", True, [], {}, 2**31, 10**40])


def wrong_point(body: Any, rng: random.Random) -> None:
    point = rng.choice([body["results"][0], body["results"][2]])["point"]
    name = rng.choice(list(point))
    if rng.random() < 0.3:
        del point[name]
    else:
        point[name] = rng.choice([*JUNK, *NOT_NUMBERS, None, 1e6, -5])


def wrong_names(body: Any, rng: random.Random) -> None:
    part = body["results"][0][rng.choice(["values", "noise", "point"])]
    part[rng.choice(["yeild", "", "x" * 300, "\ud800", "__class__", "yield\x00"])] = rng.choice([1, 2.5])


def wrong_structure(body: Any, rng: random.Random) -> None:
    choice = rng.randrange(4)
    if choice == 0:
        body["results"] = rng.choice([*JUNK, None, 5, [None], [5], ["x"], [[]], body["results"] * 500])
    elif choice == 1:
        body["results"][0][rng.choice(["values", "noise", "point"])] = rng.choice([5, "x", [], [1], True])
    elif choice == 2:
        body["results"][1]["failure"] = rng.choice(["", " ", 5, None, [], "x" * 12_000])
    else:
        body["results"].append(copy.deepcopy(body["results"][0]))  # one trial twice


def wrong_switch(body: Any, rng: random.Random) -> None:
    body[rng.choice(["amend", "allow_outside"])] = rng.choice(["yes", 1, 0, None, [], "true"])


Fault = Callable[[Any, random.Random], None]
_FAULTS: dict[str, list[Fault]] = {
    "/api/results": [
        unknown_key,
        wrong_text,
        wrong_value,
        wrong_noise,
        wrong_cost,
        wrong_trial,
        wrong_point,
        wrong_names,
        wrong_structure,
        wrong_switch,
    ],
    "/api/recommendations": [unknown_key, wrong_text, wrong_count],
    "/api/experiments/0/cancel": [unknown_key, wrong_text],
    "/api/experiments/0/void": [unknown_key, wrong_text],
}
