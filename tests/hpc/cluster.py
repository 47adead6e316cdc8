"""A Slurm of one's own, on this machine: a controller, and one or several nodes that are all this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PACKAGES = ["slurm-wlm", "munge", "libpmix-dev"]
PLUGINS = "usr/lib/*/slurm-wlm/mpi_pmix.so"

CONFIGURATION = """\
ClusterName=matloop
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
KillWait=10
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class Slurm:
    """A running cluster.

    Attributes:
        environment: for processes that are to talk to it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command that must succeed; return what it prints."""
        done = subprocess.run(command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def finish(self, job: str, within_s: float) -> dict[str, str]:
        """Wait for the end of a job, restarts included; return what Slurm knows of it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            said = self("scontrol", "--oneliner", "show", "job", job)
            known = dict(item.split("=", 1) for item in said.split() if "=" in item)
            if known["JobState"] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
                return known
            time.sleep(0.5)
        self("scancel", job)
        raise AssertionError(f"job {job} did not end within {within_s} s: {known}")


def require() -> None:
    """Install Slurm if need be and possible; skip the test otherwise."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs Linux and root")
    if all(map(shutil.which, ("slurmctld", "slurmd", "munged"))) and any(Path("/").glob(PLUGINS)):
        return
    if shutil.which("apt-get") is None:
        pytest.skip("no Slurm here and no apt-get to install it with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot install Slurm: {done.stderr.strip()[-300:]}")


@contextmanager
def slurm(folder: Path, nodes: int = 1) -> Iterator[Slurm]:
    """A cluster that lives in a folder and ends with the block.

    With one node, it has this machine's name, which PMIx wants; several are called n1, n2, ….
    """
    require()
    host = socket.gethostname().partition(".")[0]
    names = [host] if nodes == 1 else [f"n{i + 1}" for i in range(nodes)]
    lines = [f"NodeName={n} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=8" for n in names]
    file = folder / "slurm.conf"
    for name in ("state", *(f"spool.{name}" for name in names)):
        (folder / name).mkdir()
    file.write_text(CONFIGURATION.format(host=host, port=_free_port(), folder=folder, nodes="\n".join(lines)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    cluster = Slurm(
        kept
        | {"SLURM_CONF": str(file), "OMP_NUM_THREADS": "1"}
        | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    )
    try:
        _start_munge(cluster, folder / "munge")
        cluster("slurmctld", "-c", "-f", str(file), "-L", f"{folder}/slurmctld.log")
        for name in names:
            named = [] if nodes == 1 else ["-N", name]
            cluster("slurmd", *named, "-f", str(file), "-L", f"{folder}/slurmd.{name}.log")
        _until(lambda: cluster("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == str(nodes))
        yield cluster
    finally:
        for pid in [*folder.glob("slurmd.*.pid"), folder / "slurmctld.pid", folder / "munge/pid"]:
            with suppress(OSError, ValueError):
                os.kill(int(pid.read_text()), signal.SIGTERM)


def _start_munge(cluster: Slurm, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    cluster("munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not come up"
        time.sleep(0.5)
