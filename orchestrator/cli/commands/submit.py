"""`matloop submit`: a campaign as a batch job, from the options of the command line to a script and a job's id."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from matloop.hpc import jobs
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.composition.places import directory_of
from matloop.orchestrator.errors import MatloopError


def job_for(file: Path, *, directory: Path | None, **options: Any) -> jobs.Job:
    """The job that runs a campaign.

    Args:
        file: the campaign file.
        directory: see `directory_of`.
        **options: see `matloop.hpc.jobs.Job`.

    Raises:
        ConfigError: the campaign file or an option is wrong.
    """
    config = load(file)
    if config.executor.kind != "mpi":
        raise config.error(
            ("executor",),
            f"expected `executor: {{kind: mpi}}` for a job of several ranks, got {config.executor.kind!r}; change it "
            "(results recorded so far stay valid)",
        )
    results = directory_of(config, directory).absolute()
    return jobs.Job(
        name=results.name,
        campaign=config.path.absolute(),
        results=results,
        working=Path.cwd(),
        bin=Path(sys.executable).parent,
        **options,
    )


def check(file: Path) -> list[str]:
    """Build every study, so that a campaign that would fail never waits in a queue; what drivers have to say.

    Raises:
        ConfigError: everything that is wrong.
    """
    from matloop.orchestrator.composition import build

    return build.check(load(file))[2]


def write(job: jobs.Job) -> Path:
    """Write the script of a job into the campaign's folder; one that is there is replaced.

    Raises:
        MatloopError: it cannot be written.
    """
    try:
        job.results.mkdir(parents=True, exist_ok=True)
        job.script.write_bytes(jobs.text(job).encode("utf-8", "surrogateescape"))
        job.script.chmod(0o755)
    except OSError as error:
        raise MatloopError(f"cannot write {job.script}: {error.strerror}; choose another folder with --dir") from error
    return job.script
