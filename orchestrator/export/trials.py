"""A campaign in other programs' formats: CSV, and an Optuna study for optuna-dashboard."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.spreadsheets import written
from matloop.orchestrator.trial import Objective, Trial, goals, missing

if TYPE_CHECKING:
    import optuna

LONGEST = 64  # longer lists of numbers within a point stay JSON text

FIRST = ("id", "study", "number", "state", "attempt", "seed", "ask", "fidelity")
LAST = ("cost", "reason", "parents", "cause", "message", "proposed_at", "started_at", "finished_at", "worker")

AMENDED = ("amended_at", "amended_by", "amended_because")
"""Columns about the last correction of each trial, where there was any."""


def trials_csv(history: History, file: Path, study: str | None = None) -> int:
    """Write one row per trial.

    Columns `point.*`, `planned.*` (what was recommended, where a person did something else), `value.*`, `predicted.*`,
    `predicted_std.*`, `predicted_low.*` and `predicted_high.*` (between which 90 % of measurements were expected),
    `noise.*`, `censored.*` (below or above, where `value.*` is a limit), `info.*`, `inputs.*` and `extra.*` hold what
    their names say, lists of numbers spread over `name[0]`, `name[1]`, …; nested structures are JSON text, times Unix
    seconds. If a result was corrected or set aside, `amended_at`, `amended_by` and `amended_because` say so. Texts and
    names of columns have an apostrophe where a spreadsheet program would take them for a formula; see
    `matloop.orchestrator.spreadsheets`, whose `read` takes it away again.

    Returns:
        Number of rows.

    Raises:
        MatloopError: no such study.
    """
    trials = _chosen(history, study)
    rows = [_row(trial) for trial in trials]
    last = [*LAST, *(AMENDED if history.amendments else ())]
    corrections = {amendment.trial: amendment for amendment in history.amendments}
    for trial, row in zip(trials, rows, strict=True):
        if (found := corrections.get(trial.id)) is not None:
            row |= dict(zip(AMENDED, (found.time, found.by, found.reason), strict=True))
    middle = dict.fromkeys(key for row in rows for key in row if key not in FIRST and key not in last)
    groups = (
        *("point", "planned", "value", "predicted", "predicted_std", "predicted_low", "predicted_high"),
        *("noise", "censored", "info", "inputs", "extra"),
    )
    ordered = sorted(middle, key=lambda key: groups.index(key.partition(".")[0]))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        names = [*FIRST, *ordered, *last]
        writer = csv.writer(out)
        writer.writerow(map(written, names))
        writer.writerows([written(row.get(name)) for name in names] for row in rows)
    return len(rows)


def _row(trial: Trial) -> dict[str, Any]:
    row = {name: getattr(trial, name) for name in (*FIRST, *LAST) if hasattr(trial, name)}
    row["parents"] = " ".join(map(str, trial.parents))
    if trial.failure:
        row["cause"], row["message"] = trial.failure.cause, trial.failure.message
    predicted = trial.prediction
    groups: dict[str, Mapping[str, Any]] = {
        "point": trial.point,
        "planned": trial.planned or {},
        "value": trial.values or {},
        "predicted": predicted.mean if predicted else {},
        "predicted_std": predicted.std if predicted else {},
        "predicted_low": {name: low for name, (low, _) in predicted.interval.items()} if predicted else {},
        "predicted_high": {name: high for name, (_, high) in predicted.interval.items()} if predicted else {},
        "noise": trial.noise,
        "censored": trial.censored,
        "info": trial.info,
        "inputs": trial.inputs,
        "extra": trial.extra,
    }
    for group, content in groups.items():
        for key, value in flat(content):
            row[f"{group}.{key}"] = value
    return row


def flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Scalars as they are, lists of numbers one by one, anything else as JSON text."""
    for key, value in content.items():
        if value is None or isinstance(value, str | int | float):
            yield key, value
        elif _numbers(value):
            yield from ((f"{key}[{i}]", item) for i, item in enumerate(value))
        else:
            yield key, json.dumps(value, ensure_ascii=False)


def _numbers(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and 0 < len(value) <= LONGEST
        and all(isinstance(item, int | float) for item in value)
    )


def to_optuna(history: History, url: str, study: str | None = None) -> list[str]:
    """Write each study as an Optuna study named `CAMPAIGN/STUDY`; an earlier export of the same name is replaced.

    Args:
        history: of the campaign.
        url: an SQLAlchemy URL such as `sqlite:///trials.db`, or a path ending in `.log` or `.journal` for a journal.
        study: only this one.

    Returns:
        Names of the Optuna studies.

    Raises:
        MatloopError: no such study, or the storage holds a study of that name that matloop did not write.
    """
    with _quiet(), optuna_storage(url) as storage:
        return [_write_study(history, storage, name) for name in ([study] if study else studies(history))]


def _write_study(history: History, storage: Any, name: str) -> str:
    import optuna

    trials, objectives = _chosen(history, name), goals(objectives_of(history, name))
    full_name = f"{config(history).get('name', 'campaign')}/{name}"
    _make_room(storage, full_name)
    target = optuna.create_study(
        storage=storage,
        study_name=full_name,
        directions=["minimize" if o.direction == "minimise" else "maximize" for o in objectives],
    )
    target.set_metric_names([f"{o.name} ({o.unit})" if o.unit else o.name for o in objectives])
    target.set_user_attr("written_by", "matloop")
    distributions = _distributions(trials)
    target.add_trials([_frozen(trial, objectives, distributions) for trial in trials])
    return full_name


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from reporting every study that it creates."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def optuna_storage(url: str) -> Iterator[optuna.storages.BaseStorage]:
    """The storage behind `url` (see `to_optuna`); its connections are closed at the end of the block.

    Raises:
        MatloopError: it is neither a URL nor a journal's path.
    """
    if url.endswith((".log", ".journal")):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        yield JournalStorage(JournalFileBackend(url.removeprefix("journal://")))
        return
    if "://" not in url:
        raise MatloopError(f"expected a URL such as sqlite:///trials.db or a file ending in .journal, got {url!r}")
    from optuna.storages import RDBStorage

    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _make_room(storage: Any, name: str) -> None:
    import optuna

    if name not in optuna.get_all_study_names(storage):
        return
    if optuna.load_study(study_name=name, storage=storage).user_attrs.get("written_by") != "matloop":
        raise MatloopError(f"the storage already has a study {name!r} that matloop did not write; choose another one")
    optuna.delete_study(study_name=name, storage=storage)


def _distributions(trials: Sequence[Trial]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Ranges as seen in the trials: Optuna wants one per parameter, and spaces need not have any."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for key, value in _parameters(trial):
            seen.setdefault(key, []).append(value)
    found: dict[str, BaseDistribution] = {}
    for key, values in seen.items():
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if numbers and all(isinstance(v, int) for v in values):
            found[key] = IntDistribution(min(values), max(values))
        elif numbers:
            found[key] = FloatDistribution(float(min(values)), float(max(values)))
        else:
            found[key] = CategoricalDistribution(sorted(set(values), key=str))
    return found


def _parameters(trial: Trial) -> Iterator[tuple[str, Any]]:
    """What Optuna can plot; nested parts of a point, which `flat` writes as JSON, are left to the user attributes."""
    whole = {key for key, value in trial.point.items() if not (value is None or isinstance(value, str | int | float))}
    return ((key, value) for key, value in flat(trial.point) if key not in whole)


def _frozen(
    trial: Trial,
    objectives: Sequence[Objective],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
) -> optuna.trial.FrozenTrial:
    from optuna.trial import FrozenTrial, TrialState

    states = {"answered": TrialState.COMPLETE, "failed": TrialState.FAIL, "running": TrialState.RUNNING}
    parameters = dict(_parameters(trial))
    for key, value in parameters.items():
        if type(distributions[key]).__name__ == "FloatDistribution":
            parameters[key] = float(value)
    notes: dict[str, Any] = {"matloop_id": trial.id, "point": json.dumps(trial.point, indent=1, ensure_ascii=False)}
    notes |= {name: v for name in ("reason", "worker", "attempt", "cost") if (v := getattr(trial, name))}
    notes |= {"parents": list(trial.parents)} if trial.parents else {}
    notes |= {"prediction": {k: v for k, v in asdict(trial.prediction).items() if v}} if trial.prediction else {}
    notes |= {"failure": f"{trial.failure.cause}: {trial.failure.message}"} if trial.failure else {}
    waiting = bool(missing(trial, objectives))
    notes |= {"values": trial.values} if trial.values and (waiting or len(trial.values) > len(objectives)) else {}
    notes |= {"censored": trial.censored} if trial.censored else {}
    finished = trial.state != "running" and not waiting
    started_at = trial.started_at or trial.proposed_at
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState.RUNNING if waiting else states.get(trial.state, TrialState.FAIL),
        value=None,
        values=None if waiting or trial.values is None else [trial.values[o.name] for o in objectives],
        datetime_start=datetime.fromtimestamp(started_at),
        datetime_complete=datetime.fromtimestamp(trial.finished_at or started_at) if finished else None,
        params=parameters,
        distributions={key: distributions[key] for key in parameters},
        user_attrs=json.loads(json.dumps(notes, default=str)),
        system_attrs={},
        intermediate_values={},
    )


def objectives_of(history: History, study: str) -> tuple[Objective, ...]:
    """Objectives of a study, as recorded when the campaign was last started."""
    return history.objectives(study)


def config(history: History) -> Mapping[str, Any]:
    """The campaign file, as it was when the campaign was last started."""
    return history.sessions[-1].config if history.sessions else {}


def studies(history: History) -> list[str]:
    """Studies that have trials, in order."""
    return list(dict.fromkeys(t.study for t in history.trials if t.study))


def _chosen(history: History, study: str | None) -> Sequence[Trial]:
    if study is None:
        return history.trials
    if study not in studies(history):
        raise MatloopError(f"there are no trials of a study {study!r}; {suggest(study, studies(history))}")
    return history.of(study)
