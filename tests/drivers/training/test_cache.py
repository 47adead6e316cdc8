"""The cache of data: read once by many processes, mapped, whole or absent, within its limit, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

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


def test_a_picture_that_moves_to_another_class_is_noticed(tmp_path, own, monkeypatch):
    """Its name, its content and its place in the order stay the same."""
    monkeypatch.setattr(cache, "pays", lambda data, seconds: True)
    for name in ("a/1", "a/2", "b/3", "b/4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), int(name[-1]), dtype=np.uint8)).save(tmp_path / "set" / f"{name}.png")
    source = {"kind": "images", "path": tmp_path / "set"}
    assert load(source).y.tolist() == [0, 0, 1, 1]
    (tmp_path / "set" / "a" / "2.png").rename(tmp_path / "set" / "b" / "2.png")
    _load.cache_clear()
    assert load(source).y.tolist() == [0, 1, 1, 1]
    (tmp_path / "set" / "a").rename(tmp_path / "set" / "aa")
    _load.cache_clear()
    assert load(source).names == ("aa", "b")
    assert len(folders(own)) == 3


def test_names_of_groups_are_kept(tmp_path, own):
    rng = np.random.default_rng(0)
    specimens = np.array(["S1", "S2"])[np.arange(600) % 2]
    np.savez(tmp_path / "d.npz", x=rng.random((600, 1, 30, 30)), y=rng.random(600), groups=specimens)
    load(tmp_path / "d.npz")
    _load.cache_clear()
    again = load(tmp_path / "d.npz")
    assert again.group_names[:, 0].tolist() == specimens.tolist() and len(folders(own)) == 1


def test_what_changes_while_it_is_read_is_not_kept(tmp_path, own, monkeypatch):
    large(tmp_path / "d.npz")
    read = Npz.read

    def slowly(self):
        found = read(self)
        large(tmp_path / "d.npz", seed=1, rows=500)
        return found

    monkeypatch.setattr(Npz, "read", slowly)
    assert len(load(tmp_path / "d.npz")) == 600 and folders(own) == []
    monkeypatch.undo()
    monkeypatch.setenv("MATLOOP_CACHE", str(own.parent))
    assert len(load(tmp_path / "d.npz")) == 500


FULL = """
import resource, sys
from pathlib import Path
from matloop.drivers.training.sources.loading import load
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
data = load(Path(sys.argv[1]))
print(int(data.x.sum()), data.problems[-1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX's")
def test_a_disk_that_fills_up_is_said_and_leaves_nothing(tmp_path, own):
    x = large(tmp_path / "d.npz")
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "d.npz")], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(f"{int(x.sum())} each process has a copy of the data in memory, as {own} cannot be written")
    assert folders(own) == []


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from matloop.drivers.training.sources.loading import load
save = np.save
def killed(path, *arguments, **options):
    save(path, *arguments, **options)
    if path.stem == "y":
        os.kill(os.getpid(), 9)
np.save = killed
load(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_writer_that_is_killed_is_in_nobodys_way(tmp_path, own):
    x = large(tmp_path / "d.npz")
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "d.npz")], check=False).returncode == -9
    (partial,) = folders(own)
    assert partial.startswith(".partial-") and (own / partial / "x.npy").stat().st_size > x.nbytes
    data = load(tmp_path / "d.npz")
    assert isinstance(data.x, np.memmap) and np.array_equal(data.x, x)
    os.utime(own / partial, (0, 0))  # abandoned for a day
    cache.shrink()
    assert partial not in folders(own) and len(folders(own)) == 1
