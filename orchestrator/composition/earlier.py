"""`data: {from: PATH}`: the results of another campaign, read from its ledger and said in terms of this one.

Only what means the same in both is taken over: inputs and objectives of the same name and unit. The earlier campaign is
read, never written.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.composition.places import directory_of, has_record
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.protocols import Composed, Encodable, Parametric, Space
from matloop.orchestrator.trial import Objective, Trial, comparable

KEYS = ("from", "study", "given")


def earlier(
    source: str,
    *,
    study: str | None,
    given: Mapping[str, Any],
    folder: Path,
    space: Space,
    objectives: Sequence[Objective],
) -> Earlier:
    """Read the results of another campaign.

    Args:
        source: its file, or the folder of its results; relative to `folder`.
        study: its study; may be left out if only one has results.
        given: values, by name, of inputs that it did not have.
        folder: of the present campaign file.
        space: of the present study.
        objectives: of the present study.

    Raises:
        ConfigError: there is no such record or study, nothing in common, or a unit differs.
        LedgerError: the record cannot be read.
    """
    directory = _directory(folder / source)
    history = read(directory / "ledger.db")
    name = _study(history, source, study)
    taken = _objectives(history.objectives(name), objectives, source)
    inputs = _Inputs(space, history.sessions[-1].config["studies"][name].get("space") or {}, given, source)
    answered = comparable(list(history.told(name)))
    trials = [trial for t in answered if (trial := _translated(t, inputs, taken)) is not None]
    if not trials:
        raise ConfigError(
            f"none of the {len(answered)} results of study {name!r} in {source} is of an experiment that this space "
            f"knows{inputs.why}; take data from a campaign whose inputs overlap"
        )
    content = [[t.id, dict(t.point), dict(t.values or {}), dict(t.noise)] for t in trials]
    digest = hashlib.sha256(to_json([content, [[o.name, o.unit] for o in taken]]).encode()).hexdigest()
    notes = inputs.notes([t.point for t in answered], len(answered) - len(trials))
    return Earlier(name=f"{source}, study {name}", trials=tuple(trials), sha256=digest, notes=tuple(notes))


def _directory(path: Path) -> Path:
    if path.is_file():
        config: Config = load(path)
        directory = directory_of(config)
    else:
        directory = path
    if not has_record(directory):
        what = "has no results yet" if path.is_file() else "has no ledger in it" if path.is_dir() else "is not there"
        raise ConfigError(
            f"expected the file of an earlier campaign or the folder of its results, got {path}, which {what}; "
            "give the folder that holds its ledger.db"
        )
    return directory


def _study(history: History, source: str, wanted: str | None) -> str:
    """The study that is meant."""
    names = list(dict.fromkeys(t.study for t in history.trials if t.values))
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if wanted is not None:
        raise ConfigError(f"{source} has no results of a study {wanted!r}; {suggest(wanted, names)}", at="study")
    if not names:
        raise ConfigError(f"expected results in {source}, got none; leave it out until there are")
    raise ConfigError(
        f"expected one study with results in {source}, got {len(names)} ({', '.join(names)}); add `study: NAME`"
    )


def _objectives(theirs: Sequence[Objective], ours: Sequence[Objective], source: str) -> list[Objective]:
    """Those of ours that they have."""
    known = {o.name: o for o in theirs}
    taken = [o for o in ours if o.name in known]
    if not taken:
        raise ConfigError(
            f"expected an objective of {source} that is measured here, too ({', '.join(o.name for o in ours)}), got "
            f"{', '.join(known)}; objectives are the same if their names are"
        )
    for objective in taken:
        _same_unit(f"objective {objective.name}", known[objective.name].unit, objective.unit, source)
    return taken


def _same_unit(what: str, theirs: str, ours: str, source: str) -> None:
    if _plain(theirs) != _plain(ours):
        raise ConfigError(
            f"expected {what} in the same unit in both campaigns, got {theirs or 'none'} in {source} and "
            f"{ours or 'none'} here; say `unit: {theirs}` here if that is what it is measured in, else rename it, "
            "since nothing is converted"
        )


class _Inputs:
    """Translates points of their space to ours."""

    def __init__(self, space: Space, theirs: Mapping[str, Any], given: Mapping[str, Any], source: str) -> None:
        self._space, self._given, self._source = space, dict(given), source
        parameters: Any = ()
        amounts: dict[str, str] = {}
        if isinstance(space, Composed):
            parameters = space.product.box.parameters if space.product.box else ()
            amounts = {name: m.unit for m in space.product.mixtures for name in m.components}
        elif isinstance(space, Parametric):
            parameters = space.parameters
        self._units = {p.name: getattr(p, "unit", "") for p in parameters} | amounts
        self._amounts = set(amounts)
        self._before = {p.name: b for p in parameters if (b := getattr(p, "before", None)) is not None}
        names = [*self._units] or list(getattr(space, "inputs", ()))
        for name in given:
            if name not in names:
                raise ConfigError(f"there is no input {name!r} to be given; {suggest(name, names)}", at=("given", name))
        self._names = names
        self.refused: dict[str, int] = {}
        for name, unit in _units(theirs).items():
            if name in self._units:
                _same_unit(name, unit, self._units[name], source)

    def __call__(self, point: Mapping[str, Any]) -> dict[str, Any] | None:
        """The point as ours; None if it has no place in our space, which is noted."""
        found: dict[str, Any] = {}
        for name in self._names:
            if name in point:
                found[name] = point[name]
            elif name in self._given or name in self._before:
                found[name] = self._given.get(name, self._before.get(name))
            elif name in self._amounts:
                found[name] = 0.0
        try:
            assert isinstance(self._space, Encodable)
            self._space.encode([found])
        except (KeyError, ValueError, TypeError) as error:  # of a choice or a row that it does not know
            text = str(error.args[0]) if error.args else type(error).__name__
            self.refused[text] = self.refused.get(text, 0) + 1
            return None
        return found

    @property
    def why(self) -> str:
        """The commonest reason for which points have no place here."""
        return f" ({max(self.refused, key=lambda text: self.refused[text])})" if self.refused else ""

    def notes(self, points: Sequence[Mapping[str, Any]], left_out: int) -> list[str]:
        """What is to be said about all of them."""
        theirs = {name for point in points for name in point}
        known = theirs | set(self._given) | set(self._before) | self._amounts
        absent = [name for name in self._names if name not in known]
        unknown = [name for name in dict.fromkeys(n for p in points for n in p) if name not in self._names]
        found = []
        if left_out:
            found.append(f"{left_out} of {len(points)} results have no place in this space and are left out{self.why}")
        if absent:
            remedy = f"say what it was with `given: {{{absent[0]}: …}}`"
            found.append(f"{', '.join(absent)} is not known of these results and taken for a middle value; {remedy}")
        if unknown:
            found.append(f"{', '.join(unknown)} is no input here and passed over")
        return found


def _units(space: Mapping[str, Any]) -> dict[str, str]:
    """Unit of each input that a recorded space declares."""
    found = {}
    for name, options in (space.get("parameters") or {}).items():
        if isinstance(options, Mapping):
            found[str(name)] = str(options.get("unit") or "")
    for options in (space.get("mixtures") or {}).values():
        if isinstance(options, Mapping) and not isinstance(options.get("components"), str):
            found |= {str(name): str(options.get("unit") or "") for name in options.get("components") or ()}
    return found


def _translated(trial: Trial, inputs: _Inputs, objectives: Sequence[Objective]) -> Trial | None:
    told = {name: value for name, value in (trial.values or {}).items() if name not in trial.censored}
    values = {o.name: told[o.name] for o in objectives if o.name in told}
    point = inputs(trial.point) if values else None
    if point is None:
        return None
    noise = {name: trial.noise[name] for name in values if name in trial.noise}
    return replace(trial, point=point, values=values, noise=noise, censored={}, prediction=None, planned=None, extra={})


def _plain(unit: str) -> str:
    return unicodedata.normalize("NFKC", unit).replace("º", "°").replace(" ", "")
