"""Text in tables that spreadsheet programs open, and might take for a formula that sends the table elsewhere.

An apostrophe before it keeps it text. Some programs split lines at semicolons, tabs or line breaks although there are
commas between the cells, so what follows one of those counts as the beginning of a cell. `written` puts the apostrophes
there, and `read` takes away the same ones: `read(written(text)) == text` for every text.

Reference: OWASP, CSV injection.
"""

from __future__ import annotations

import re
from typing import Any

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *\Z"
_FORMULA = rf"(?!{_NUMBER})['\"]*[=+\-@＝＋－＠\t\r\n]"
_BEGINNING = r"(?<![^;\t\r\n])"
_BARE = re.compile(rf"{_BEGINNING}(?={_FORMULA})")
_MARKED = re.compile(rf"{_BEGINNING}'(?={_FORMULA})")


def written(value: Any) -> Any:
    """As it goes into a table: text with an apostrophe wherever it could be taken for a formula; else as it is.

    Numbers stay numbers, also those that are text.
    """
    return _BARE.sub("'", value) if isinstance(value, str) else value


def read(text: str) -> str:
    """What was written; what was typed by hand is left as it is, but for an apostrophe before a formula."""
    return _MARKED.sub("", text)
