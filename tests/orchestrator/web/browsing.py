"""What every page has to keep on a screen of a given width."""

from __future__ import annotations

from typing import Any

TOO_WIDE = """width => [...document.querySelectorAll("body *")]
    .filter(e => !e.closest("pre > *, svg *, .brand > *") && e.getBoundingClientRect().right > width + .5)
    .map(e => `${e.tagName} ${e.className} ${Math.round(e.getBoundingClientRect().right)}: ${e.innerText}`.slice(0, 99))
"""
HEIGHTS = """found => found.filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height)"""
TOUCHED = "main button, main summary.button, main input:not([type=hidden]):not([type=checkbox]), main select"


def fits(page: Any, width: int) -> None:
    """Nothing is wider than the screen, and fingers find the buttons."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, page.evaluate(TOO_WIDE, width))
    heights = page.eval_on_selector_all(TOUCHED, HEIGHTS)
    assert all(height >= 44 for height in heights), (page.url, heights)
