"""The commands that correct the record of a campaign, whoever measured it: amend and void."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matloop.orchestrator.cli.options import Campaign

if TYPE_CHECKING:
    from matloop.orchestrator.trial import Trial

Number = Annotated[int, typer.Argument(help="Id of the trial, as `matloop export --csv` has it.", min=0)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the correction.", metavar="TEXT")]
By = Annotated[str, typer.Option("--by", help="Who says so.", metavar="NAME")]


def amend(
    campaign: Campaign,
    trial: Number,
    reason: Reason,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", help="Right value of an objective; may be repeated.", metavar="NAME=NUMBER"),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option("--noise", help="Right standard deviation; may be repeated.", metavar="NAME=NUMBER"),
    ] = None,
    cost: Annotated[float | None, typer.Option("--cost", help="Right cost.")] = None,
    failed: Annotated[str, typer.Option("--failed", help="It failed after all: what happened.", metavar="TEXT")] = "",
    by: By = "",
) -> None:
    """Correct the result of a trial, whoever measured it; the record keeps what was there before.

    What is not given stays as it is. The campaign may not be running; the next run goes on with the correction.
    """
    from matloop.orchestrator.cli.commands.correct import named
    from matloop.orchestrator.cli.commands.status import locate
    from matloop.orchestrator.composition import correcting
    from matloop.orchestrator.ledger.corrections import Correction

    directory = locate(campaign)
    correction = Correction(values=named("--value", value), noise=named("--noise", noise), cost=cost, failure=failed)
    _say(correcting.amend(directory, trial, correction, reason=reason, by=by), directory)


def void(campaign: Campaign, trial: Number, reason: Reason, by: By = "") -> None:
    """Set the result of a trial aside, whoever measured it: it teaches nothing any more, and its cost stays.

    The record keeps it; `matloop amend` gives it a result again. The campaign may not be running.
    """
    from matloop.orchestrator.cli.commands.status import locate
    from matloop.orchestrator.composition import correcting

    directory = locate(campaign)
    _say(correcting.void(directory, trial, reason=reason, by=by), directory)


def _say(trial: Trial, directory: Path) -> None:
    from matloop.orchestrator.cli.commands.correct import sentence
    from matloop.orchestrator.ledger.file import quoted

    typer.echo(sentence(trial))
    typer.echo(f"the record keeps what was there before; `matloop status {quoted(directory)}` shows both")
