"""Takes the pictures of docs/microstructures.md from reports, in a headless Chromium.

    python docs/pictures.py ABSORBER STIFFNESS

ABSORBER is the folder of a finished run of the campaign in docs/microstructures.md, STIFFNESS that of
campaigns/stiffness_design.yaml. Needs playwright, of the extra `dev`, and a Chromium: `chromium` on the path, or
MATLOOP_CHROMIUM.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"
WIDTH = 1180
SHOWN = {
    "structure": (0, "design", "The best structure"),
    "progress": (0, "design", "Best so far"),
    "likeness": (0, "design", "Is it like random structures?"),
    "orders": (0, "check", "Measured again"),
    "front": (1, "design", "What trades against what"),
}
"""By name of the picture: which campaign, study and section it shows."""


def main(campaigns: list[Path]) -> None:
    """Write the reports anew, and a picture of each section."""
    from playwright.sync_api import sync_playwright

    from matloop.orchestrator.report import write

    FOLDER.mkdir(exist_ok=True)
    reports = [write(campaign).resolve().as_uri() for campaign in campaigns]
    with sync_playwright() as driver:
        path = os.environ.get("MATLOOP_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        for name, (number, study, title) in SHOWN.items():
            page.goto(reports[number])
            page.add_style_tag(content="nav { display: none }")  # it would stay on top of the picture
            card = f"section.chapter:has(> h2:text-is('{study}')) section.card:has(> h3:text-is('{title}'))"
            page.locator(card).screenshot(path=FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(str(__doc__))
    main([Path(given) for given in sys.argv[1:]])
