"""Job scripts for Slurm, LSF and PBS: a short text that a user can read, change and submit by hand.

A script starts the campaign's ranks, lets them stop before the wall time, and starts itself again while there is more
to do and the last run got further. What it says is in `templates`, one file a scheduler.
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.job import WARNING_S
from matloop.orchestrator.processes import POSIX

Scheduler = Literal["slurm", "lsf", "pbs"]
Launcher = Literal["auto", "srun", "jsrun", "mpiexec"]

LAUNCHERS: Final[dict[str, tuple[str, ...]]] = {
    "slurm": ("srun", "mpiexec"),
    "lsf": ("jsrun", "mpiexec"),
    "pbs": ("mpiexec",),
}
"""What may start the ranks, by scheduler; `auto` is the first."""

SUBMIT: Final = {"slurm": "sbatch --parsable {}", "lsf": "bsub < {}", "pbs": "qsub {}"}
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:@+=/-]*")
JOB_ID: Final = {"slurm": r"(\d+)", "lsf": r"Job <(\d+)>", "pbs": r"(\S+)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A campaign as a batch job.

    Attributes:
        scheduler: "slurm", "lsf" or "pbs".
        name: of the job.
        campaign: absolute path of the campaign file.
        results: absolute path of the campaign's folder; the script and its log are written there.
        working: folder to run in, absolute.
        bin: folder of the commands `matloop` and, where it comes from there, `mpiexec`.
        nodes: number of nodes.
        time_s: wall time asked for, s.
        gpus_per_node: GPUs asked for on each node.
        tasks_per_node: workers on each node; by default one per GPU. The manager comes on top, on the first node.
        cpus_per_task: cores of each rank; None takes the nodes whole and binds nothing.
        queue: partition or queue.
        account: project that is charged.
        modules: environment modules to load.
        extra: lines that go below the directives as they are; nothing else is taken as it is.
        launcher: what starts the ranks; "auto" is replaced by the scheduler's own.

    Raises:
        ConfigError: an option is out of range, or this is Windows.
    """

    scheduler: Scheduler
    name: str
    campaign: Path
    results: Path
    working: Path
    bin: Path
    nodes: int
    time_s: int
    gpus_per_node: int = 0
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    queue: str | None = None
    account: str | None = None
    modules: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    launcher: Launcher = "auto"

    def __post_init__(self) -> None:
        if not POSIX:
            raise ConfigError("job scripts need Linux; run `matloop submit` where the job is to be submitted")
        if self.nodes < 1 or self.gpus_per_node < 0:
            raise ConfigError(f"expected --nodes >= 1 and --gpus-per-node >= 0, got {self.nodes}, {self.gpus_per_node}")
        for option, number in (("tasks-per-node", self.tasks_per_node), ("cpus-per-task", self.cpus_per_task)):
            if number is not None and number < 1:
                raise ConfigError(f"expected --{option} >= 1, got {number}")
        if self.time_s < 60:
            raise ConfigError(f"expected --time of a minute or more, got {self.time_s} s")
        if self.tasks_per_node is None:
            if not self.gpus_per_node:
                raise ConfigError("expected --gpus-per-node G (a worker each) or --tasks-per-node K, got neither")
            object.__setattr__(self, "tasks_per_node", self.gpus_per_node)
        possible = LAUNCHERS[self.scheduler]
        if self.launcher == "auto":
            object.__setattr__(self, "launcher", possible[0])
        elif self.launcher not in possible:
            raise ConfigError(
                f"expected --launcher {' or '.join(possible)} under {self.scheduler}, got {self.launcher}"
            )
        self._check_texts()

    def _check_texts(self) -> None:
        """Refuse what would end a line of the script or mean something else in a directive."""
        paths = (self.campaign, self.results, self.working, self.bin)
        for text in (self.name, *map(str, paths), *self.extra, *self.modules, self.queue or "", self.account or ""):
            if CONTROL.search(text):
                raise ConfigError(f"expected single lines without control characters, got {text!r}; rename it")
        if relative := [path for path in paths if not path.is_absolute()]:
            raise ConfigError(f"expected absolute paths, got {str(relative[0])!r}")
        for option, word in (("--partition", self.queue), ("--account", self.account)):
            if word is not None and not WORD.fullmatch(word):
                raise ConfigError(
                    f"expected {option} with a name such as gpu_long, got {word!r}; what is more than a name can be "
                    "given as a directive of its own with --extra"
                )
        if self.scheduler == "lsf" and re.search("%[IJ]", str(self.log)):
            raise ConfigError(f"LSF would put a number in place of %J and %I in {self.log}; choose another with --dir")

    @property
    def label(self) -> str:
        """The name as a scheduler takes it: letters, digits, dots, dashes and underscores, a letter first."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name)[:64].strip("._-")
        return plain if plain[:1].isalpha() else f"run_{plain}".rstrip("_")

    @property
    def workers(self) -> int:
        """Evaluations at once."""
        return self.ranks - 1

    @property
    def ranks(self) -> int:
        """MPI ranks, manager included."""
        assert self.tasks_per_node is not None
        if self.launcher == "jsrun":
            return self.nodes * self.ranks_per_node
        return self.nodes * self.tasks_per_node + 1

    @property
    def ranks_per_node(self) -> int:
        """Ranks on the fullest node. As jsrun fills all nodes alike, the manager has no room of its own on several."""
        assert self.tasks_per_node is not None
        return self.tasks_per_node + (self.launcher != "jsrun" or self.nodes == 1)

    @property
    def warning_s(self) -> int:
        """How long before the end nothing new is begun, s."""
        return min(WARNING_S, self.time_s // 4)

    @property
    def script(self) -> Path:
        """Where the script belongs."""
        return self.results / "job.sh"

    @property
    def log(self) -> Path:
        """File that takes what the job prints, appended by every run."""
        return self.results / "job.log"


def text(job: Job) -> str:
    """The job script."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("matloop.hpc"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    environment.filters["percent"] = lambda value: str(value).replace("%", "%%")
    environment.globals.update(clock=_clock, minutes=lambda seconds: math.ceil(seconds / 60))
    template = environment.get_template(f"{job.scheduler}.sh")
    written = template.render(job=job, by_hand=by_hand(job))
    return re.sub(r"\n{3,}", "\n\n", written).strip() + "\n"


def submit(job: Job) -> str:
    """Hand the script, which has been written, to the scheduler.

    Returns:
        The job's id.

    Raises:
        MatloopError: the scheduler is not here, or refuses.
    """
    done = subprocess.run(_command(job), shell=True, capture_output=True, text=True, cwd=job.working)
    found = re.search(JOB_ID[job.scheduler], done.stdout)
    if done.returncode == 127:
        raise MatloopError(
            f"there is no {SUBMIT[job.scheduler].split()[0]} here; submit {job.script} on a login node of the cluster"
        )
    if done.returncode or not found:
        raise MatloopError(
            f"{job.scheduler} did not take {job.script}: {(done.stderr + done.stdout).strip()}; correct the options "
            "(--extra adds directives that a site asks for), or the script, and submit again"
        )
    return found.group(1)


def by_hand(job: Job) -> str:
    """The command that submits the script."""
    return _command(job).replace(" --parsable", "")


def _command(job: Job) -> str:
    return SUBMIT[job.scheduler].format(shlex.quote(str(job.script)))


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
