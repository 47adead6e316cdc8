"""The commands of a lab: recommend, tell, predict and others. They open the ledger for a moment, beside any others."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matloop.orchestrator.cli.options import Changes, Directory, Study
from matloop.orchestrator.cli.terminal import console

if TYPE_CHECKING:
    from matloop.orchestrator.lab.sheets import Reading

CampaignFile = Annotated[
    Path, typer.Argument(help="Campaign file (YAML), or the folder of its results.", metavar="FILE|DIR")
]
By = Annotated[str, typer.Option("--by", help="Who asks or reports.", metavar="NAME")]


class Decimal(StrEnum):
    """What stands before the decimals of a number."""

    COMMA = "comma"
    POINT = "point"


Sheet = Annotated[str, typer.Option("--sheet", help="Sheet of an Excel file; the first if left out.", metavar="NAME")]
MarkOfDecimals = Annotated[
    Decimal | None, typer.Option("--decimal", help="What stands before decimals, where the table does not say.")
]
Ignore = Annotated[bool, typer.Option("--ignore-columns", help="Pass over columns that are not known.")]


def reading(sheet: str, decimal: Decimal | None, ignore_columns: bool) -> Reading:
    """How a table is to be read."""
    from matloop.orchestrator.lab.sheets import Reading

    return Reading(sheet=sheet, decimal=None if decimal is None else decimal.value, ignore_columns=ignore_columns)


NO_OUTLOOK = (
    "the strategy cannot say: those with a model look ahead (bayesian, active_learning), once it has enough results"
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
    fixed: Annotated[
        list[str] | None,
        typer.Option(
            "--fixed",
            help="What an input may be for once: temperature=800, gas=argon,nitrogen or temperature=700..800; "
            "may be repeated.",
            metavar="INPUT=VALUES",
        ),
    ] = None,
    around: Annotated[
        int | None,
        typer.Option("--around", help="The neighbourhood of this trial alone; choices stay as there.", min=0),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option("--within", help="How far from it, as a share of each range; a tenth if left out."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", help="An input that is free in spite of --around; may be repeated.", metavar="INPUT"),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(
            "--same", help="What has one value in all of these experiments; may be repeated.", metavar="INPUT"
        ),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(
            "--at-most",
            help="Most different values of an input in these experiments, as in gas=2; may be repeated.",
            metavar="INPUT=N",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            help="What is measured and not set, as it is today, as in humidity=55; may be repeated.",
            metavar="INPUT=VALUE",
        ),
    ] = None,
    by: By = "",
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Recommend the next experiments of a study that people measure, as you wish them."""
    from matloop.orchestrator.cli.commands.opening import opened
    from matloop.orchestrator.cli.commands.recommend import recommend as start
    from matloop.orchestrator.cli.commands.recommend import wishes

    out = console()
    wished = wishes(
        pending=pending,
        fixed=fixed or [],
        around=around,
        within=within,
        vary=vary or [],
        same=same or [],
        at_most=at_most or [],
        given=given or [],
    )
    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None if pending else out) as lab:
        start(
            lab,
            None if pending else number,
            campaign=campaign,
            csv=csv,
            xlsx=xlsx,
            by=by,
            wishes=wished,
            console=out,
        )


def tell(
    campaign: CampaignFile,
    file: Annotated[Path, typer.Argument(help="Table with results: CSV or Excel.", metavar="TABLE")],
    by: By = "",
    sheet: Sheet = "",
    decimal: MarkOfDecimals = None,
    ignore_columns: Ignore = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded; record nothing.")] = False,
    amend: Annotated[
        bool, typer.Option("--amend", help="Let different results take the place of recorded ones.")
    ] = False,
    allow_outside: Annotated[
        bool,
        typer.Option("--allow-outside", help="Take values outside the plausible ranges, and inputs outside the space."),
    ] = False,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Record results from a table: all of it, or nothing and every problem by row and column."""
    from matloop.orchestrator.cli.commands.opening import opened
    from matloop.orchestrator.cli.commands.tell import tell as start

    out = console()
    with opened(campaign, study, directory, accept_changes=accept_changes, begin=out) as lab:
        how = reading(sheet, decimal, ignore_columns)
        start(lab, file, how, by=by, dry_run=dry_run, amend=amend, allow_outside=allow_outside, console=out)


def outlook(
    campaign: CampaignFile,
    delta: Annotated[
        float | None,
        typer.Option(
            "--delta",
            help="Least gain that counts: in the objective's unit (else that of the noise); "
            "with several, a share of the hypervolume (else 0.01).",
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many experiments are to come.", min=1)] = 1,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Say what further experiments are worth: the chance of something better, and the gain to be expected.

    What is better follows from the strategy: a better value, a larger front of several objectives, a point within the
    target range, a model that knows more.
    """
    from matloop.orchestrator.cli.commands.opening import opened

    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None) as lab:
        found = lab.outlook(delta, number)
        typer.echo(found.get("text", NO_OUTLOOK))


def predict(
    campaign: Annotated[
        Path,
        typer.Argument(
            help="Folder of a bundle, or campaign file (YAML) or its results' folder.", metavar="BUNDLE|FILE|DIR"
        ),
    ],
    points: Annotated[
        list[str],
        typer.Argument(
            help="For a network: formulas, files or folders. For a lab: a table of points.", metavar="NEW..."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="Of a network: write the predictions as CSV.", metavar="FILE")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Of a network that segments, or predicts a field: write pictures.", metavar="DIR"),
    ] = None,
    own_code: Annotated[
        bool, typer.Option("--own-code", help="Of a bundle: let code run that is no part of matloop, if it names some.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Of a lab: write the predictions as a table.", metavar="FILE")
    ] = None,
    sheet: Sheet = "",
    decimal: MarkOfDecimals = None,
    ignore_columns: Ignore = False,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Predict with a trained network, or what experiments of a lab would give; with 90 % intervals.

    A folder that `matloop export --bundle` wrote, or a campaign that trained networks, predicts formulas, crystals,
    images, tables or arrays: what its network was trained on. A campaign's best network is put into `bundles/` among
    its results. A campaign that people measure predicts the points of a table, which may lie outside the space. Exit
    code 3: some inputs of a network could not be read, the others were.
    """
    from matloop.orchestrator.bundle import is_bundle
    from matloop.orchestrator.cli.commands.winner import winner
    from matloop.orchestrator.composition.files import expanded

    place = expanded(campaign)
    bundle = place if is_bundle(place) else winner(place, directory, study)
    if bundle is not None:
        from matloop.orchestrator.cli.commands.use import use

        of_lab = {"--csv": csv, "--sheet": sheet, "--decimal": decimal, "--ignore-columns": ignore_columns}
        _refuse("a lab, not a network", of_lab)
        if bundle == place:
            _refuse("a campaign, not a bundle", {"--study": study, "--dir": directory})
        if not use(bundle, points, output=output, masks=masks, own_code=own_code, console=console()):
            raise typer.Exit(3)
        return
    from matloop.orchestrator.cli.commands.opening import opened
    from matloop.orchestrator.cli.commands.predict import predict as start

    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None) as lab:
        of_network = {"--output": output, "--masks": masks, "--own-code": own_code}
        _refuse("a network, not a lab; --study names a study of networks, if there is one", of_network)
        if len(points) != 1:
            raise typer.BadParameter(f"expected one table of points for a lab, got {len(points)}")
        start(lab, Path(points[0]), reading(sheet, decimal, ignore_columns), csv=csv, console=console())


def _refuse(owner: str, options: Mapping[str, object]) -> None:
    """Refuse options that were given and belong to something else."""
    if given := [name for name, value in options.items() if value]:
        raise typer.BadParameter(f"{', '.join(given)} belongs to {owner}; see `matloop predict --help`")


def best(
    campaign: CampaignFile,
    number: Annotated[int, typer.Option("-n", "--number", help="How many of the measured ones.", min=1)] = 1,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
) -> None:
    """Say where the best is: measured, by the model among what was measured, and where the model expects it."""
    from matloop.orchestrator.cli.commands.best import show
    from matloop.orchestrator.cli.commands.opening import opened

    with opened(campaign, study, directory, accept_changes=accept_changes, begin=None) as lab:
        show(lab, number, console=console())


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
