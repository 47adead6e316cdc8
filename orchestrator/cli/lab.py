"""The commands of a lab: recommend, tell, outlook, cancel. They open the ledger for a moment, beside any others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matloop.orchestrator.cli.terminal import console

CampaignFile = Annotated[
    Path, typer.Argument(help="Campaign file (YAML), or the folder of its results.", metavar="FILE|DIR")
]
Study = Annotated[str | None, typer.Option("--study", help="Which study, if people measure several.", metavar="NAME")]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Folder for results; runs/NAME beside the file if left out.", metavar="DIR")
]
By = Annotated[str, typer.Option("--by", help="Who asks or reports.", metavar="NAME")]
Changes = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the campaign file has changed since the last time.")
]


class Decimal(StrEnum):
    """What stands before the decimals of a number."""

    COMMA = "comma"
    POINT = "point"


NO_OUTLOOK = (
    "the strategy cannot say: it looks ahead where one objective is to be as high or as low as possible, "
    "once its model has enough results"
)


def recommend(
    campaign: CampaignFile,
    number: Annotated[int, typer.Option("-n", "--number", help="How many experiments.", min=1)] = 1,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write them as a table to be filled in.", metavar="FILE")
    ] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="The same as an Excel file.", metavar="FILE")] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="Those that wait for results, instead of new ones.")
    ] = False,
    by: By = "",
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Recommend the next experiments of a study that people measure."""
    from matloop.orchestrator.cli.commands.opening import opened
    from matloop.orchestrator.cli.commands.recommend import recommend as start

    out = console()
    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None if pending else out) as lab:
        start(lab, None if pending else number, campaign=campaign, csv=csv, xlsx=xlsx, by=by, console=out)


def tell(
    campaign: CampaignFile,
    file: Annotated[Path, typer.Argument(help="Table with results: CSV or Excel.", metavar="TABLE")],
    by: By = "",
    sheet: Annotated[
        str, typer.Option("--sheet", help="Sheet of an Excel file; the first if left out.", metavar="NAME")
    ] = "",
    decimal: Annotated[
        Decimal | None, typer.Option("--decimal", help="What stands before decimals, where the table does not say.")
    ] = None,
    ignore_columns: Annotated[
        bool, typer.Option("--ignore-columns", help="Pass over columns that are not known.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded; record nothing.")] = False,
    amend: Annotated[
        bool, typer.Option("--amend", help="Let different results take the place of recorded ones.")
    ] = False,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Take values outside the plausible ranges.")
    ] = False,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Record results from a table: all of it, or nothing and every problem by row and column."""
    from matloop.orchestrator.cli.commands.opening import opened
    from matloop.orchestrator.cli.commands.tell import tell as start
    from matloop.orchestrator.lab.sheets import Reading

    out = console()
    with opened(campaign, study, directory, accept_changes=accept_changes, begin=out) as lab:
        how = Reading(sheet=sheet, decimal=None if decimal is None else decimal.value, ignore_columns=ignore_columns)
        start(lab, file, how, by=by, dry_run=dry_run, amend=amend, allow_outside=allow_outside, console=out)


def outlook(
    campaign: CampaignFile,
    delta: Annotated[
        float | None,
        typer.Option("--delta", help="Least difference that counts, in the objective's unit; else that of the noise."),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many experiments are to come.", min=1)] = 1,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Say what further experiments are worth: the chance of something better, and the gain to be expected."""
    from matloop.orchestrator.cli.commands.opening import opened

    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None) as lab:
        found = lab.outlook(delta, number)
        typer.echo(found.get("text", NO_OUTLOOK))


def cancel(
    campaign: CampaignFile,
    trial: Annotated[int, typer.Argument(help="Id of the recommendation.", min=0)],
    reason: Annotated[str, typer.Option("--reason", help="Why it will not be done.", metavar="TEXT")] = "",
    by: By = "",
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Say that a recommended experiment will not be done."""
    from matloop.orchestrator.cli.commands.opening import opened

    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None) as lab:
        lab.cancel(trial, by=by, reason=reason)
        typer.echo(f"trial {trial} is cancelled; {len(lab.pending())} recommendations wait for results")
