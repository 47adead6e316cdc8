"""What the record makes of file systems: local or not, whose a new file is, and what is on the disk for good."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from matloop.orchestrator.errors import LedgerCorrupt
from matloop.orchestrator.ledger import disk
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.disk import on_network
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Proposal
from matloop.testing.ledger import CONFIG


def mounted(*mounts: tuple[str, str, str]) -> list[SimpleNamespace]:
    """A table of mounts: where, kind, options."""
    return [SimpleNamespace(mountpoint=where, fstype=kind, opts=options) for where, kind, options in mounts]


def test_local_disks_are_not_taken_for_network_ones(tmp_path: Path) -> None:
    assert not on_network(tmp_path)


@pytest.mark.parametrize(
    ("kind", "options", "journal"),
    [("ext4", "rw", "wal"), ("xfs", "rw", "wal"), ("btrfs", "rw", "wal"), ("zfs", "rw", "wal"), ("tmpfs", "rw", "wal"),
     ("overlay", "rw", "wal"), ("apfs", "rw", "wal"), ("fuseblk", "rw", "wal"), ("NTFS", "rw,fixed", "wal"),
     ("exFAT", "rw,fixed", "wal"), ("NTFS", "rw,remote", "delete"),
     *((kind, "rw", "delete") for kind in (
         "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "virtiofs", "fuse.sshfs",
         "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs", "fuse", "orangefs", "pvfs2", "panfs", "wekafs", "afs", "coda",
         "ocfs2", "gfs2", "acfs", "davfs", "afpfs", "webdav", "vboxsf", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse", "dvs",
         "quobyte", "daos", "mmfs", "unheard-of", "",
     ))],
)  # fmt: skip
def test_what_is_not_known_to_be_local_gets_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, journal: str
) -> None:
    """A write-ahead log is shared memory, which two computers do not have."""
    disks = mounted(("/", "ext4", "rw"), (str(tmp_path.resolve()), kind, options))
    monkeypatch.setattr(psutil, "disk_partitions", lambda *, all: disks)
    Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == (journal,)
    assert not on_network(tmp_path.resolve().parent)


@pytest.mark.parametrize(
    ("mounts", "network"),
    [
        ([("/", "ext4"), ("/home", "autofs"), ("/home", "nfs4")], True),
        ([("/", "ext4"), ("/home", "nfs4"), ("/home", "autofs")], True),
        ([("/", "ext4"), ("/home", "ext4"), ("/home", "autofs")], False),  # which mounts what lies there already
        ([("/", "ext4"), ("/home", "nfs4"), ("/home", "ext4")], False),  # the later one lies on top
        ([("/", "ext4"), ("/home", "ext4"), ("/home", "nfs4")], True),
        ([("/", "ext4"), ("/home/ada", "ext4"), ("/home", "nfs4")], True),  # also where it hides what is deeper
        ([("/", "nfs4"), ("/home", "ext4")], False),
        ([("/home", "nfs4"), ("/", "ext4")], True),  # a table in another order
        ([("/", "ext4"), ("/hom", "nfs4"), ("/home2", "nfs4")], False),
        ([("/other", "ext4")], True),  # nothing is said of this path
        ([("/home", "autofs")], True),
        ([], True),
    ],
)
def test_what_is_mounted_last_counts(
    monkeypatch: pytest.MonkeyPatch, mounts: list[tuple[str, str]], network: bool
) -> None:
    monkeypatch.setattr(psutil, "disk_partitions", lambda *, all: mounted(*((*mount, "rw") for mount in mounts)))
    assert on_network(Path("/home/ada/runs/ledger.db")) is network


def test_where_there_is_no_table_it_may_be_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, all: bool) -> None:
        raise PermissionError(13, "no /proc here")

    monkeypatch.setattr(psutil, "disk_partitions", refuse)
    assert on_network(tmp_path)


@pytest.fixture
def mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
@pytest.mark.parametrize(
    ("folder", "umask", "expected"),
    [(0o755, 0o022, 0o600), (0o700, 0o077, 0o600), (0o755, 0o000, 0o600), (0o777 | stat.S_ISVTX, 0o022, 0o600),
     (0o2775, 0o002, 0o660), (0o770, 0o022, 0o660)],
)  # fmt: skip
@pytest.mark.parametrize("opened", [Ledger, SharedLedger])
def test_a_record_is_its_owners_or_the_groups_where_the_folder_is(
    tmp_path: Path, mask: None, folder: int, umask: int, expected: int, opened: type[Ledger] | type[SharedLedger]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    run.chmod(folder)
    os.umask(umask)
    ledger = opened(run / "ledger.db")
    ledger.note("a", "n", {}) if opened is Ledger else None
    ledger.commit()
    (run / "artifacts").mkdir(mode=folder & 0o777)
    (run / "artifacts").chmod(folder)
    ArtifactStore(run / "artifacts").save(b"content")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in run.rglob("*") if file.is_file()}
    assert {"ledger.db", "ledger.db.lock", "ledger.db.writer", "ledger.db-wal"} <= modes.keys()
    assert set(modes.values()) == {expected}
    ledger.close()


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
def test_the_artifacts_of_a_group_are_the_groups(tmp_path: Path, mask: None) -> None:
    tmp_path.chmod(0o2770)
    ArtifactStore(tmp_path / "artifacts").save(b"content")
    assert (tmp_path / "artifacts").stat().st_mode & 0o070 == 0o070


@pytest.mark.skipif(os.name == "nt", reason="Windows does it by itself")
def test_a_new_ledger_and_its_folders_are_on_the_disk_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run = tmp_path / "runs" / "one"
    Ledger.open(run / "ledger.db", config=CONFIG, environment={}).close()
    assert {folder.stat().st_ino for folder in (tmp_path, run.parent, run)} <= synced


def test_a_folder_that_cannot_be_synced_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(disk.os, "fsync", refuse)
    disk.sync_folder(tmp_path)


def test_a_ledger_is_whole_from_the_moment_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck where it is about to appear, it is not there; a moment later it is a ledger without events."""
    path, replace = tmp_path / "ledger.db", Path.replace

    def struck(self: Path, target: Path) -> None:
        assert not path.exists()
        replace(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", struck)
    with pytest.raises(KeyboardInterrupt):
        Ledger(path)
    monkeypatch.undo()
    assert read(path).last_seq == 0 and not read(path).damage
    Ledger.open(path, config=CONFIG, environment={}).close()


@pytest.mark.parametrize("tables", ["CREATE TABLE t (a)", "CREATE TABLE events (seq, name)", "PRAGMA application_id=7"])
def test_another_programs_file_is_left_as_it_is(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(tables)
        if "events" not in tables:
            db.execute("CREATE TABLE IF NOT EXISTS other (a)")
        db.commit()
    before = path.read_bytes()
    for attempt in (Ledger, SharedLedger, read):
        with pytest.raises(LedgerCorrupt, match="of another program"):
            attempt(path)
    assert path.read_bytes() == before and "matloop repair" not in before.decode("latin-1")


def test_an_empty_file_is_a_ledger_that_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    (tmp_path / "ledger.db-wal").write_bytes(b"what is left of it")
    for attempt in (Ledger, SharedLedger, read):
        with pytest.raises(LedgerCorrupt, match="it is empty"):
            attempt(path)
    assert (tmp_path / "ledger.db-wal").read_bytes() == b"what is left of it"


def test_a_log_without_its_ledger_is_not_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    log = tmp_path / "ledger.db-wal"
    log.write_bytes(b"what is left of it")
    with pytest.raises(
        LedgerCorrupt, match=r"is not there, but ledger\.db-wal beside it.*matloop repair .*delete that"
    ):
        Ledger(path)
    assert log.read_bytes() == b"what is left of it" and not path.exists()
    log.write_bytes(b"")
    with Ledger.open(path, config=CONFIG, environment={}) as ledger:
        ledger.propose("a", Proposal(point={}), seed=0, ask=0)
    assert len(read(path).trials) == 1
