"""Nothing is unpickled but what our own processes send each other; least of all a file of a run's folder."""

from __future__ import annotations

import ast
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export import networks
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.report import page
from matloop.orchestrator.trial import Answer, Proposal

ROOT = Path(__file__).parents[2]
PARTS = ("orchestrator", "search_spaces", "surrogates", "drivers", "hpc")

READERS = {"load", "loads", "Unpickler", "read_pickle", "unsafe_load", "full_load", "load_all"}
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "np", "numpy"}
MODULES |= {"yaml", "pandas", "pd"}

FROM_OUR_OWN_PROCESSES = {
    "hpc/child.py": "calls and answers, through pipes between a worker and its child",
    "hpc/isolate.py": "the same, at the other end",
    "hpc/exchange.py": "answers, at that end too",
    "hpc/parcel.py": "the calls themselves, as these carry them",
    "hpc/mpi_wire.py": "tasks and answers between the ranks of one job",
    "orchestrator/loop/evaluation.py": "what all evaluations of a study have in common, part of a task",
}
"""Files that unpickle, and what: all of it comes from a process that matloop has started, none of it from a disk."""

CODE = {"eval": {"orchestrator/composition/binding.py"}, "exec": set(), "compile": set(), "__import__": set()}
"""Files that make code of text: annotations of a class that the campaign names."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path.relative_to(ROOT).as_posix(), node


def keyword(call: ast.Call, name: str) -> object:
    return next((k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)), None)


def test_files_that_unpickle_are_known() -> None:
    found: dict[str, list[str]] = {}
    for file, call in calls():
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in READERS:
            continue
        module = ast.unparse(call.func.value)
        if module not in MODULES:
            continue
        if module == "torch" and keyword(call, "weights_only") is True:
            continue
        if module in ("np", "numpy") and keyword(call, "allow_pickle") is False:
            continue
        found.setdefault(file, []).append(ast.unparse(call.func))
    assert {file for file in found if file not in FROM_OUR_OWN_PROCESSES} == set(), found
    assert set(found) == set(FROM_OUR_OWN_PROCESSES), "a file that unpickles no more is to be taken off the list"


def test_readers_are_not_imported_by_their_own_names() -> None:
    """Or the test above would not see them."""
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module in MODULES - {"np", "pd"}:
                    assert not {alias.name for alias in node.names} & READERS, path
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        assert alias.name not in MODULES or alias.asname in (None, "np", "pd"), path


def test_text_becomes_code_nowhere_else() -> None:
    for file, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in CODE:
            assert file in CODE[call.func.id], f"{file}:{call.lineno}"


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def traps(path: Path) -> dict[str, bytes]:
    """Contents that a careless reader would run: a pickle, one in an array, one as torch saves it."""
    array = io.BytesIO()
    np.save(array, np.array([Trap(path)], dtype=object), allow_pickle=True)
    saved = io.BytesIO()
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(path), 2))
        archive.writestr("archive/version", "3\n")
    return {"pickle": pickle.dumps(Trap(path)), "array": array.getvalue(), "torch": saved.getvalue()}


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


@pytest.fixture(params=["pickle", "array", "torch"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, sprung: Path) -> Path:
    """A run whose artifacts are traps."""
    content = traps(sprung)[request.param]
    run = tmp_path / "run"
    store = ArtifactStore(run / "artifacts")
    name = store.save(content)
    names = dict.fromkeys(("weights", "microstructure", "checkpoint", "state"), name)
    config = {"name": "x", "studies": {"s": {"objectives": {"y": {"direction": "maximise"}}}}}
    with Ledger.open(run / "ledger.db", config=config, environment={}) as ledger:
        for i in range(12):
            trial = ledger.propose("s", Proposal(point={"a": float(i)}), seed=1, ask=0)
            answer = Answer(
                values={"y": float(i)},
                started_at=0.0,
                finished_at=1.0,
                worker="w",
                info={"device": "cpu"},
                artifacts=names,
            )
            ledger.answer(trial, answer)
    for path in (run / "comparison.json", run / "job.log"):
        path.write_bytes(content)
    return run


def test_the_traps_are_traps(sprung: Path) -> None:
    for content in traps(sprung).values():
        sprung.unlink(missing_ok=True)
        if content.startswith(b"PK"):
            content = zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
        if content.startswith(b"\x93NUMPY"):
            np.load(io.BytesIO(content), allow_pickle=True)
        else:
            pickle.loads(content)
        assert sprung.exists()


def test_a_run_full_of_pickles_is_looked_at_without_harm(folder: Path, sprung: Path, tmp_path: Path) -> None:
    history: History = read(folder / "ledger.db")
    store = ArtifactStore(folder / "artifacts")
    assert "trial" in page.html(history, store)
    with pytest.raises(MatloopError, match="no network that matloop has trained"):
        networks.export(history, store, tmp_path / "exported")
    assert not sprung.exists()


def test_what_a_training_goes_on_from_is_read_without_harm(sprung: Path) -> None:
    from matloop.surrogates.networks.training_state import TrainingState

    for content in traps(sprung).values():
        with pytest.raises(ValueError, match="expected the state of a training"):
            TrainingState.from_bytes(content)
    assert not sprung.exists()
