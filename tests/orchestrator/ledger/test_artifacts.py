"""Large results as files that are named by their content."""

from __future__ import annotations

import threading
from pathlib import Path

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
