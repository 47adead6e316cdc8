"""Large results as files that are named by their content."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.ledger.artifacts import ArtifactStore


def test_threads_may_store_the_same_content_at_once(tmp_path: Path) -> None:
    store, names = ArtifactStore(tmp_path / "artifacts"), []
    content = np.arange(100_000.0)
    threads = [threading.Thread(target=lambda: names.append(store.save(content))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 8 and len(set(names)) == 1
    assert np.array_equal(store.load(names[0]), content)
    assert [path.name for path in store.folder.iterdir()] == names[:1]


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_another_writer_has_put_there_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Windows does not replace a file that somebody reads."""
    store = ArtifactStore(tmp_path)

    def refuse(self: Path, target: Path) -> None:
        if there:
            target.write_bytes(b"content")
        raise PermissionError(13, "used by another process")

    monkeypatch.setattr(Path, "replace", refuse)
    if there:
        assert store.load_bytes(store.save(b"content")) == b"content"
    else:
        with pytest.raises(PermissionError):
            store.save(b"content")
    assert not list(tmp_path.glob("*.tmp"))


def test_two_computers_whose_processes_have_the_same_number_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one stores the same content between the first one's writing and its renaming."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(threading, "get_ident", lambda: 7)
    here, there = ArtifactStore(tmp_path), ArtifactStore(tmp_path)
    replace = Path.replace

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        assert there.save(b"content") == target.name
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", late)
    assert here.load_bytes(here.save(b"content")) == b"content"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows does it by itself")
def test_the_name_is_on_the_disk_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        said.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(self: Path, target: Path) -> Any:
        said.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    store = ArtifactStore(tmp_path / "artifacts")
    store.save(b"content")
    assert said == ["folder", "file", "renamed", "folder"]  # the store's own name, then what it holds
    store.save(b"content")
    assert said[4:] == ["folder"]  # another one may have put it there this moment


def test_a_disk_that_is_full_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store = ArtifactStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(b"content")
    assert not list(tmp_path.iterdir())
    assert store.load_bytes(store.save(b"content")) == b"content"


def test_what_a_computer_that_lost_its_power_left_behind_is_not_in_the_way(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    name = store.save(b"content")
    store.path(name).write_bytes(b"")  # the name was on the disk before the content
    (tmp_path / f"{name}.0123456789abcdef.tmp").write_bytes(b"con")
    assert store.save(b"content") == name and store.load_bytes(name) == b"content"
