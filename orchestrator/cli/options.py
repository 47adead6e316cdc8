"""Arguments and options that several commands have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Campaign = Annotated[
    Path, typer.Argument(help="Folder of a campaign (runs/NAME beside its file), or its file.", metavar="DIR|FILE")
]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Folder for results; runs/NAME beside the file if left out.", metavar="DIR")
]
Changes = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the campaign file has changed since the last time.")
]
Study = Annotated[str | None, typer.Option("--study", help="Which study, if there are several.", metavar="NAME")]
