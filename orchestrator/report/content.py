"""What a report page is made of: plain records that the template turns into HTML, so that sections hold no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Prose:
    """One paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """An inline SVG and the sentence that tells what to see in it; a wide one takes the whole column."""

    kind: ClassVar[str] = "figure"
    svg: Markup
    caption: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; `align` has one letter a column, l or r; a wide one takes the whole column of the page."""

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    align: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A small raster image as a data URI, with the lines printed under it."""

    uri: str
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures in rows of four under a common heading; a wide one takes the whole column, eight in a row."""

    kind: ClassVar[str] = "gallery"
    title: str
    pictures: tuple[Picture, ...]
    caption: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Details:
    """Preformatted text behind a line that opens it."""

    kind: ClassVar[str] = "details"
    summary: str
    body: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A signed quantity in words, and as a share in [-1, 1] of the largest beside it."""

    label: str
    value: str
    share: float


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of one trial, behind a line that opens it."""

    kind: ClassVar[str] = "account"
    title: str
    where: str
    outcome: str
    facts: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]


Block = Prose | Figure | Table | Gallery | Details | Account


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the page that the navigation names; `name` is unique on the page and names its anchor."""

    name: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]
