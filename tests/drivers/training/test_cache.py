"""The cache of data: read once by many processes, mapped, whole or absent, within its limit, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest

from matloop.drivers.training import cache
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.sources.loading import _load, load
from matloop.drivers.training.sources.npz import Npz


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("MATLOOP_CACHE", str(tmp_path / "cache"))
    _load.cache_clear()
    yield tmp_path / "cache" / "data"
    _load.cache_clear()


def large(path, seed=0, rows=600):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 255, (rows, 1, 100, 100), dtype=np.uint8)
    np.savez(path, x=x, y=rng.normal(size=rows), groups=np.arange(rows) // 2, extra=np.zeros(3))
    return x


def folders(own):
    return sorted(place.name for place in own.iterdir() if place.is_dir())


def test_what_is_read_again_is_the_same_and_mapped(tmp_path, own, monkeypatch):
    x = large(tmp_path / "d.npz")
    first = load(tmp_path / "d.npz")
    _load.cache_clear()
    monkeypatch.setattr(Npz, "read", lambda self: pytest.fail("it was read again"))
    again = load(tmp_path / "d.npz")
    for data in (first, again):
        assert isinstance(data.x, np.memmap) and data.x.dtype == np.uint8 and np.array_equal(data.x, x)
        assert not data.x.flags.writeable
    for name in ("y", "ids", "groups"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert first.problems == again.problems and "'extra'" in again.problems[0]
    assert (again.parts, again.time, again.path) == (None, None, tmp_path / "d.npz")


def test_graphs_are_mapped_too(tmp_path, own):
    rng = np.random.default_rng(0)
    pair = np.array([[0, 1], [1, 0]])
    graphs = [Graph(rng.normal(size=(2, 900)), pair, rng.normal(size=(2, 1))) for _ in range(600)]
    save(tmp_path / "g.npz", graphs, rng.normal(size=600))
    load(tmp_path / "g.npz")
    _load.cache_clear()
    again = load(tmp_path / "g.npz").x
    assert len(folders(own)) == 1
    assert np.allclose(again[7:8].nodes, graphs[7].nodes) and again[7:8].edges.tolist() == [[0, 1], [1, 0]]


def test_what_is_small_and_quick_is_not_kept(tmp_path, own):
    np.savez(tmp_path / "d.npz", x=np.zeros((50, 3)), y=np.zeros(50))
    load(tmp_path / "d.npz")
    assert folders(own) == []


def test_another_content_or_option_is_another_folder(tmp_path, own):
    large(tmp_path / "d.npz")
    load(tmp_path / "d.npz")
    load({"kind": "npz", "path": tmp_path / "d.npz", "transpose": False})
    assert len(folders(own)) == 2
    large(tmp_path / "d.npz", seed=1)
    load(tmp_path / "d.npz")
    assert len(folders(own)) == 3


def test_a_damaged_folder_is_written_again(tmp_path, own):
    x = large(tmp_path / "d.npz")
    load(tmp_path / "d.npz")
    (name,) = folders(own)
    _load.cache_clear()
    (own / name / "x.npy").write_bytes(b"")
    assert np.array_equal(load(tmp_path / "d.npz").x, x)
    assert folders(own) == [name] and (own / name / "x.npy").stat().st_size > x.nbytes


def test_a_write_that_was_killed_leaves_nothing_that_counts(tmp_path, own, monkeypatch):
    large(tmp_path / "d.npz")

    def killed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "d.npz")
    monkeypatch.undo()
    monkeypatch.setenv("MATLOOP_CACHE", str(own.parent))
    assert folders(own) == []
    load(tmp_path / "d.npz")
    assert len(folders(own)) == 1


def test_a_cache_that_cannot_be_written_is_not_in_the_way(tmp_path, monkeypatch):
    x = large(tmp_path / "d.npz")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MATLOOP_CACHE", str(tmp_path / "file"))
    assert np.array_equal(load(tmp_path / "d.npz").x, x)


def test_the_limit_is_kept_by_removing_what_was_not_used_for_longest(tmp_path, own, monkeypatch):
    names: list[str] = []
    for i in range(3):
        large(tmp_path / f"{i}.npz", seed=i)
        load(tmp_path / f"{i}.npz")
        names += [name for name in folders(own) if name not in names]
        os.utime(own / names[i], (1000 + i, 1000 + i))
    monkeypatch.setenv("MATLOOP_CACHE_GB", "0.014")  # two of three
    cache.shrink()
    assert folders(own) == sorted(names[1:])
    assert np.array_equal(load(tmp_path / "0.npz").x, large(tmp_path / "0.npz", seed=0))


MANY = """
import sys, time
from pathlib import Path
from matloop.drivers.training.sources import npz
from matloop.drivers.training.sources.loading import load
read = npz.Npz.read
def told(self):
    print("read", flush=True)
    return read(self)
npz.Npz.read = told
print("ready", flush=True)
input()
data = load(Path(sys.argv[1]))
total = 0
for start in range(0, len(data), 64):
    total += int(data.x[start : start + 64].sum())
print(total, flush=True)
input()
"""


def shared(process):
    return sum(entry.pss for entry in psutil.Process(process.pid).memory_maps(grouped=True))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shares of memory are Linux's")
def test_processes_of_a_machine_read_once_and_hold_the_data_once(tmp_path):
    """Two together grow by less than 1.5 times the data, all rows touched."""
    x = large(tmp_path / "d.npz", rows=3000)  # 30 MB
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, str(tmp_path / "d.npz")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        before = sum(map(shared, processes))
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        said = []
        for process in processes:
            line = process.stdout.readline()
            said.append(line)
            if line == "read\n":
                line = process.stdout.readline()
            assert int(line) == int(x.sum())
        assert said.count("read\n") == 1
        assert sum(map(shared, processes)) - before < 1.5 * x.nbytes
    finally:
        for process in processes:
            process.communicate("\n")
