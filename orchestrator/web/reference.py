"""The page about the REST interface, made from its OpenAPI description, so that it needs nothing from the network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A parameter of a route, or a field of its body."""

    name: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """One route in words."""

    method: str
    path: str
    anchor: str
    summary: str
    answers: str
    parameters: list[Entry] = field(default_factory=list)
    fields: list[Entry] = field(default_factory=list)
    body_type: str = ""
    body: str = ""


def routes(schema: Mapping[str, Any]) -> list[Route]:
    """Routes in the order of the description."""
    return [
        _route(schema, method, path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]


def _route(schema: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Route:
    content = operation.get("requestBody", {}).get("content", {})
    nothing: tuple[str, dict[str, Any]] = "", {}
    kind, body = next(iter(content.items()), nothing)
    model = _resolved(schema, body.get("schema", {}))
    example = body.get("example", model.get("example"))
    return Route(
        method=method.upper(),
        path=path,
        anchor=re.sub(r"\W+", "-", f"{method}{path}").strip("-"),
        summary=" ".join(operation.get("description", operation.get("summary", "")).split()),
        answers=", ".join(_answers(schema, operation)),
        parameters=[
            Entry(p["name"], _type(schema, p["schema"]), p.get("description", ""))
            for p in operation.get("parameters", [])
        ],
        fields=list(_fields(schema, model)),
        body_type=kind,
        body=example
        if isinstance(example, str)
        else json.dumps(example, indent=2, ensure_ascii=False)
        if example
        else "",
    )


def _fields(schema: Mapping[str, Any], model: Mapping[str, Any], before: str = "") -> Iterator[Entry]:
    for name, part in model.get("properties", {}).items():
        required = "" if name in model.get("required", []) else ", optional"
        yield Entry(f"{before}{name}", f"{_type(schema, part)}{required}", part.get("description", ""))
        items = _resolved(schema, part.get("items", {}))
        if "properties" in items:
            yield from _fields(schema, items, f"{before}{name}[].")


def _answers(schema: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        nothing: tuple[str, dict[str, Any]] = "", {}
        kind, content = next(iter(answer.get("content", {}).items()), nothing)
        what = _type(schema, content.get("schema", {})) if kind == "application/json" else kind
        yield f"{status} {what}".rstrip()


def _type(schema: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        resolved = _resolved(schema, part)
        return _type(schema, resolved) if "enum" in resolved else re.sub(r"(In|Out)$", "", name).lower()
    if "enum" in part:
        return " | ".join(map(str, part["enum"]))
    if "anyOf" in part:
        kinds = [_type(schema, option) for option in part["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if part.get("type") == "array":
        return f"list of {_type(schema, part.get('items', {}))}"
    if part.get("type") == "object":
        values = part.get("additionalProperties")
        return f"name → {_type(schema, values)}" if isinstance(values, Mapping) and values else "object"
    return str(part.get("type", "anything"))


def _resolved(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = schema
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found
