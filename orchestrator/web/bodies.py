"""JSON bodies that Python would read, but not as they were meant."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 20
"""Levels of lists and objects; ours have five."""


def objection(body: bytes) -> str:
    """What is wrong with a JSON body, apart from what its reader objects to; empty if nothing is.

    Args:
        body: as it came; what is no JSON at all is left to the reader, who says where.
    """
    try:
        content = json.loads(body, object_pairs_hook=_once)
    except _Twice as error:
        return f"the key {str(error)[:80]!r} is given twice in one object; send it once"
    except RecursionError:
        return TOO_DEEP
    except UnicodeDecodeError:
        return "expected JSON in UTF-8, got other bytes"
    except json.JSONDecodeError:
        return ""
    except ValueError:
        return "a number in the body has too many digits"
    return TOO_DEEP if _deep(content) else ""


TOO_DEEP = f"the body is nested too deeply; expected at most {DEEPEST} levels of lists and objects"


class _Twice(Exception):
    """A key that is there twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _deep(content: Any) -> bool:
    """Whether it has more levels than are read."""
    level = [content]
    for _ in range(DEEPEST + 1):
        level = [
            one
            for outer in level
            if isinstance(outer, dict | list)
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
