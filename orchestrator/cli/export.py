"""The command that writes a campaign's trials, networks and structures for other programs: export."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from matloop.orchestrator.cli.options import Campaign
from matloop.orchestrator.errors import MatloopError, is_of_the_machine


def export(
    campaign: Campaign,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the trials as CSV.", metavar="FILE")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Write a table that `tell` reads: FILE.csv or FILE.xlsx.", metavar="FILE"),
    ] = None,
    optuna: Annotated[
        str | None,
        typer.Option("--optuna", help="Write Optuna studies: sqlite:///FILE or FILE.journal.", metavar="URL"),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option("--network", help="Write the best networks: weights, torch source, ONNX.", metavar="DIR"),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Write one folder that predicts; see `matloop predict`.", metavar="DIR"),
    ] = None,
    ensemble: Annotated[
        str | None,
        typer.Option("--ensemble", help="With --bundle: several networks, the N best or the front.", metavar="N|front"),
    ] = None,
    structure: Annotated[
        list[Path] | None,
        typer.Option(
            "--structure",
            help="Write the best microstructure: FILE.png, .npy, .gds or .stl; may be repeated.",
            metavar="FILE",
        ),
    ] = None,
    tiles: Annotated[int, typer.Option("--tiles", help="Of a structure: periods along each side.", min=1)] = 1,
    period: Annotated[
        float | None, typer.Option("--period", help="Of a structure, nm, if the driver does not say.", metavar="NM")
    ] = None,
    thickness: Annotated[
        float | None, typer.Option("--thickness", help="Of a film in FILE.stl, nm.", metavar="NM")
    ] = None,
    layer: Annotated[int, typer.Option("--layer", help="Of phase 1 in FILE.gds.", min=0, max=65535)] = 1,
    phase: Annotated[int, typer.Option("--phase", help="That is solid in FILE.stl.", min=0)] = 1,
    trial: Annotated[
        int | None, typer.Option("--trial", help="Not the best, but what this trial left.", metavar="N", min=0)
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Only this study.", metavar="NAME")] = None,
) -> None:
    """Write a campaign's trials, its best networks or its best microstructure for other programs."""
    from matloop.orchestrator.cli.commands.status import damaged, locate
    from matloop.orchestrator.export import bundles, networks, structures
    from matloop.orchestrator.export import trials as formats
    from matloop.orchestrator.ledger.artifacts import ArtifactStore
    from matloop.orchestrator.ledger.ledger import read

    if not any((csv, table, optuna, network, bundle, structure)):
        raise typer.BadParameter(
            "expected --csv FILE, --table FILE, --optuna URL, --network DIR, --bundle DIR or --structure FILE, got "
            "none of them"
        )
    for name, length in (("--period", period), ("--thickness", thickness)):
        if length is not None and not (math.isfinite(length) and length > 0):
            raise typer.BadParameter(f"expected {name} above 0 nm, got {length}")
    if ensemble is not None and bundle is None:
        raise typer.BadParameter("expected --ensemble with --bundle DIR, got it alone")
    directory = locate(campaign)
    history = read(directory / "ledger.db")
    if history.damage:
        typer.echo(damaged(history, directory), err=True)
    if csv is not None:
        with _writing(csv):
            typer.echo(f"{formats.trials_csv(history, csv, study)} trials → {csv}")
    if table is not None:
        from matloop.orchestrator.cli.commands.table import write

        with _writing(table):
            write(directory, history, table, study)
    if optuna is not None:
        names = formats.to_optuna(history, optuna, study)
        typer.echo(f"Optuna studies {', '.join(names)} → {optuna}")
    store = ArtifactStore(directory / "artifacts")
    if network is not None:
        with _writing(network):
            done = networks.export(history, store, network, study, trial)
        typer.echo(f"network of trial {done.best.id} ({done.best.study}) → {network}")
        if done.front:
            typer.echo(f"{len(done.front)} networks of the Pareto front → {network / 'front'}")
        if done.without_onnx:
            typer.echo(f"no network.onnx: {done.without_onnx}")
    if bundle is not None:
        with _writing(bundle):
            card = bundles.export(history, store, bundle, study, trial, ensemble, now=time.time())
        typer.echo(bundles.told(card, bundle))
    if structure:
        shape = structures.Shape(tiles=tiles, period_nm=period, thickness_nm=thickness, layer=layer, phase=phase)
        found = structures.find(history, store, study, trial)
        for file in structure:
            with _writing(file):
                typer.echo(structures.write(found, file, shape))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say which file or folder cannot be written; what is wrong with the disk itself, the command says.

    Raises:
        MatloopError: there can be none of that name.
    """
    try:
        yield
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise MatloopError(f"cannot write {path}: {error.strerror or error}; choose another name or folder") from error
