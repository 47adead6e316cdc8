"""The command `matloop`. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import atexit
import io
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from matloop.orchestrator.cli import corrections, export, lab
from matloop.orchestrator.cli.options import Campaign, Changes, Directory, Study
from matloop.orchestrator.cli.terminal import console as _console

app = typer.Typer(
    name="matloop",
    help="One asynchronous loop for materials science: evolve networks, choose the next experiment, design structures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CampaignFile = Annotated[Path, typer.Argument(help="Campaign file (YAML).", metavar="FILE")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"matloop {version('matloop')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Options of all commands; `main` looks at `--debug` itself."""


@app.command()
def init(
    given: Annotated[
        Path | None,
        typer.Argument(
            help="Campaign file (YAML) to write; for data, the file or folder they are in.", metavar="FILE|DATA"
        ),
    ] = None,
    template: Annotated[
        str,
        typer.Option(
            help="function: your own Python function; command: any program; lab: people; for data: images, "
            "segmentation, formulas, crystals, signals, table."
        ),
    ] = "function",
    output: Annotated[Path, typer.Option("--output", help="Campaign file to write for data.", metavar="FILE")] = Path(
        "campaign.yaml"
    ),
    target: Annotated[
        str | None, typer.Option("--target", help="Column of the data to predict.", metavar="COLUMN")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Of the search for data.")] = 10.0,
) -> None:
    """Write a commented campaign file that runs as it is. For data, look at them first and say what they are."""
    from matloop.orchestrator.cli.commands.init import write, write_for
    from matloop.orchestrator.composition.drafting import DATA_TEMPLATES

    if template in DATA_TEMPLATES:
        for line in write_for(given, template, file=output, target=target, minutes=minutes):
            typer.echo(line)
        return
    file = given or Path("campaign.yaml")
    for path in write(file, template):
        typer.echo(f"wrote {path}")
    typer.echo(f"next: matloop {'recommend' if template == 'lab' else 'run'} {file}")


@app.command()
def validate(
    file: CampaignFile,
    directory: Directory = None,
) -> None:
    """Check a campaign file: build every study without measuring anything, and say what it changes of a record."""
    from matloop.orchestrator.cli.changes import against_record
    from matloop.orchestrator.composition.build import check
    from matloop.orchestrator.composition.config import load

    config = load(file)
    studies, resolved, notes = check(config)
    for study in studies:
        names = ", ".join(map(str, study.objectives))
        parts = (study.space, study.strategy, study.driver)
        typer.echo(f"{study.name}: {' · '.join(type(part).__name__ for part in parts)}; {names}")
    for line in notes:
        typer.echo(line)
    for line in against_record(config, resolved, directory):
        typer.echo(line)
    typer.echo(f"{file} is valid")


@app.command()
def run(
    file: CampaignFile,
    directory: Directory = None,
    accept_changes: Changes = False,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Stop cleanly before: 2026-11-22T17:30 or seconds since 1970.", metavar="TIME"),
    ] = None,
    time_left: Annotated[
        str | None, typer.Option("--time-left", help="The same as a duration: 12:00:00, 90m.", metavar="TIME")
    ] = None,
    warning: Annotated[
        str | None,
        typer.Option("--warning", help="How long before the end to begin nothing new; 2m or less.", metavar="TIME"),
    ] = None,
) -> None:
    """Run a campaign, or go on with it. Ctrl-C stops when what runs is measured; a second one stops at once.

    Exit codes: 0 finished; 2 the campaign file or an option is wrong; 3 finished, but nothing was answered; 4 ended by
    failures in a row; 5 the disk, the record or the artifacts were out of reach for too long; 75 out of time and more
    to do; 130 Ctrl-C or 143 SIGTERM, and more to do; 1 other errors. After 3 and 4, once the cause is put right, the
    same command goes on, and the failures are not charged to the budget.
    """
    from matloop.orchestrator.job import OUTCOMES, is_worker_rank
    from matloop.orchestrator.loop.deadline import end_of_time, seconds
    from matloop.orchestrator.loop.stop import Stop, outlive_announcements

    warning_s = seconds(warning) if warning else None
    outlive_announcements()
    end = end_of_time(until, time_left, os.environ)
    with Stop(end, warning_s=warning_s, quiet=is_worker_rank(os.environ)) as stop:
        from matloop.orchestrator.cli.commands.run import run as start

        outcome = start(file, directory=directory, accept_changes=accept_changes, console=_console(), stop=stop)
    raise typer.Exit(OUTCOMES.get(outcome, 0))


@app.command()
def submit(
    file: CampaignFile,
    scheduler: Annotated[str, typer.Option("--scheduler", help="slurm, lsf or pbs.")],
    nodes: Annotated[int, typer.Option("--nodes", help="Number of nodes.")],
    time: Annotated[str, typer.Option("--time", help="Wall time: 12:00:00, 1-00:00:00, 90m.", metavar="TIME")],
    gpus_per_node: Annotated[int, typer.Option("--gpus-per-node", help="GPUs on each node; a worker each.")] = 0,
    tasks_per_node: Annotated[
        int | None, typer.Option("--tasks-per-node", help="Workers on each node, where it is not one per GPU.")
    ] = None,
    cpus_per_task: Annotated[
        int | None, typer.Option("--cpus-per-task", help="Cores of each rank; whole nodes if left out.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--partition", "--queue", help="Partition or queue.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Project that is charged.")] = None,
    module: Annotated[list[str] | None, typer.Option("--module", help="Module to load; may be repeated.")] = None,
    extra: Annotated[
        list[str] | None, typer.Option("--extra", help='Directive as it is: "#SBATCH --qos=debug"; may be repeated.')
    ] = None,
    launcher: Annotated[str, typer.Option("--launcher", help="auto, srun, jsrun or mpiexec.")] = "auto",
    directory: Directory = None,
    now: Annotated[bool, typer.Option("--now", help="Submit it, and print the job's id.")] = False,
) -> None:
    """Write a job script for a cluster: it runs the campaign over MPI, again and again until it is finished."""
    from matloop.hpc import jobs
    from matloop.orchestrator.cli.commands.submit import check, job_for, write
    from matloop.orchestrator.loop.deadline import seconds

    job = job_for(
        file,
        directory=directory,
        scheduler=_one_of("--scheduler", scheduler, jobs.LAUNCHERS),
        launcher=_one_of("--launcher", launcher, ("auto", "srun", "jsrun", "mpiexec")),
        nodes=nodes,
        time_s=seconds(time),
        gpus_per_node=gpus_per_node,
        tasks_per_node=tasks_per_node,
        cpus_per_task=cpus_per_task,
        queue=queue,
        account=account,
        modules=tuple(module or ()),
        extra=tuple(extra or ()),
    )
    for line in check(file):
        typer.echo(line)
    typer.echo(f"wrote {write(job)}: a manager and {job.workers} workers")
    typer.echo(f"job {jobs.submit(job)}" if now else f"next: {jobs.by_hand(job)}")


@app.command()
def progress(
    campaign: Campaign,
    since: Annotated[
        str | None, typer.Option("--since", help="What runs that began later have come to.", metavar="TIME")
    ] = None,
) -> None:
    """Say whether to start a campaign again, for job scripts.

    Exit codes: 75 more to do, and results came since; any other says that it is not to be started again, and is that
    of the last run (0 finished, 3 nothing was answered, 4 failures in a row, 5 out of reach, 130 or 143 stopped), or 1.
    """
    from matloop.orchestrator.cli.commands.progress import verdict
    from matloop.orchestrator.cli.commands.status import locate
    from matloop.orchestrator.ledger.ledger import read
    from matloop.orchestrator.loop.deadline import moment

    code, sentence = verdict(read(locate(campaign) / "ledger.db"), moment(since) if since else 0.0)
    typer.echo(sentence)
    raise typer.Exit(code)


@app.command()
def status(campaign: Campaign) -> None:
    """Show where a campaign stands, while it runs or afterwards."""
    from matloop.orchestrator.cli.commands.status import locate, show

    show(locate(campaign), _console())


@app.command()
def decide(
    campaign: Campaign,
    trial: Annotated[int, typer.Argument(help="Id of the trial.", min=0)],
    verdict: Annotated[str, typer.Argument(help="counted, repeat or drop.", metavar="counted|repeat|drop")],
    by: Annotated[str, typer.Option("--by", help="Who decides.", metavar="NAME")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why.", metavar="TEXT")] = "",
) -> None:
    """Decide on a trial that may have happened, gave no answer, and must not be repeated unasked.

    counted: it happened, and there is no result. repeat: the next run begins with a new trial at the same point, if the
    budget is not used up otherwise; it takes this one's place in the number of trials, and each has its cost. drop: it
    is set aside, as by `matloop void`.
    """
    from matloop.orchestrator.cli.commands.decide import record
    from matloop.orchestrator.cli.commands.status import locate

    record(locate(campaign), trial, verdict, by=by, reason=reason, console=_console())


@app.command()
def report(campaign: Campaign) -> None:
    """Write the HTML report of a campaign and print what it was worth."""
    from matloop.orchestrator.cli.commands.run import report as write
    from matloop.orchestrator.cli.commands.status import locate

    write(locate(campaign), _console())


@app.command()
def repair(
    campaign: Annotated[
        Path, typer.Argument(help="Folder of a campaign, its ledger, or its file.", metavar="DIR|FILE")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for the copy, or a file NAME.db; DIR-repaired if left out.", metavar="NEW"),
    ] = None,
) -> None:
    """Write a sound copy of a damaged ledger, with all that can be read, and say what is not in it."""
    from matloop.orchestrator.cli.commands.repair import repair as write

    write(campaign, to, _console())


app.command()(export.export)


@app.command()
def serve(
    campaign: Campaign,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; any but this machine's own asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 for any that is free.", min=0, max=65535)] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Where the token is; it is made in the results if left out.", metavar="FILE"),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Another name of this server; may be repeated.")
    ] = None,
    study: Study = None,
    directory: Directory = None,
    accept_changes: Changes = False,
    connections: Annotated[int, typer.Option("--connections", help="Open at once, at most.", min=1)] = 800,
    per_address: Annotated[
        int, typer.Option("--per-address", help="Open at once from one address or proxy, at most.", min=1)
    ] = 200,
) -> None:
    """Serve a study that people measure: a page for the bench and the phone, and a REST interface."""
    from matloop.orchestrator.cli.commands.serve import serve as start

    start(
        campaign,
        _console(),
        study=study,
        directory=directory,
        host=host,
        port=port,
        token_file=token_file,
        allow_hosts=allow_host or (),
        accept_changes=accept_changes,
        connections=connections,
        per_address=per_address,
    )


app.command()(lab.recommend)
app.command()(lab.tell)
app.command()(lab.outlook)
app.command()(lab.predict)
app.command()(lab.best)
app.command()(lab.cancel)
app.command()(corrections.amend)
app.command()(corrections.void)


def main() -> None:
    """Entry point: errors that a user can act on are one message and an exit code, not a traceback."""
    try:
        _main()
    except KeyboardInterrupt:  # also while an error is being told
        if "--debug" in sys.argv:
            raise
        raise SystemExit(130) from None


def _main() -> None:
    from matloop.orchestrator.errors import MatloopError
    from matloop.orchestrator.job import is_worker_rank, rank_of, started_with

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # into a file, Windows writes an alphabet that lacks our arrows
            stream.reconfigure(errors="replace")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except SystemExit as end:
        _leave(end.code)
        raise
    except MatloopError as error:
        if debug:
            raise
        if not is_worker_rank(os.environ):
            _complain(str(error), error)
        elif not error.everywhere:  # nobody else may know of it: each says what is wrong with itself
            _complain(f"rank {rank_of(os.environ)} on {socket.gethostname()}: {error}", error)
        code = _code(error)
        _end_together(arguments, code)
        _leave(code)
        raise SystemExit(code) from None
    except Exception as error:
        if started_with(os.environ) > 1:
            error.add_note(f"on rank {rank_of(os.environ)} on {socket.gethostname()}")
        code = _code(error)
        _end_together(arguments, code)
        if debug or code == 1:
            raise
        _complain(str(error), error)  # a full disk, say
        raise SystemExit(code) from None


def _end_together(arguments: Sequence[str], code: int) -> None:
    """When this rank of a job ends, which cannot take part in it, have the others end too."""
    from matloop.orchestrator.job import started_with

    if arguments[:1] == ["run"] and started_with(os.environ) > 1 and "mpi4py.MPI" not in sys.modules:
        from matloop.hpc.mpi_wire import give_up

        atexit.register(give_up, code)  # after a traceback is printed


def _leave(code: object) -> None:
    """End the process here if a model is still being fitted that nobody waits for: clearing up under it may crash.

    Not in an MPI job, whose launcher would take that for a crash.
    """
    proposers = sys.modules.get("matloop.orchestrator.loop.proposer")
    if proposers is not None and proposers.left_behind() and "mpi4py.MPI" not in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _code(error: Exception) -> int:
    """Exit code of a command that ends with an error."""
    from matloop.orchestrator.errors import ConfigError, LedgerUnwritable, OutOfReach, is_of_the_machine
    from matloop.orchestrator.job import OUT_OF_REACH

    if isinstance(error, LedgerUnwritable | OutOfReach) or (isinstance(error, OSError) and is_of_the_machine(error)):
        return OUT_OF_REACH
    return 2 if isinstance(error, ConfigError) else 1


def _one_of(option: str, value: str, allowed: Iterable[str]) -> Any:
    from matloop.orchestrator.errors import ConfigError

    if value not in allowed:
        raise ConfigError(f"expected {option} {', '.join(allowed)}, got {value!r}")
    return value


def _complain(message: str, error: Exception) -> None:
    from rich.console import Console
    from rich.text import Text

    text = "\n".join([message, *getattr(error, "__notes__", [])])
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), (text, "red")), soft_wrap=True)


if __name__ == "__main__":
    main()
