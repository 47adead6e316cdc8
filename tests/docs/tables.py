"""Tables of the pages in docs/, as tests need them."""

import re


def first_cells(page: str, title: str) -> list[str]:
    """Names in the first column of the table under a heading."""
    part = page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = (row.split("|")[1] for row in part.splitlines() if row.startswith("| `"))
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]
