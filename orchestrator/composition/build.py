"""The composition root: from a campaign file to studies that can run.

Each study is built when its turn comes, from what the ones before it found (`{from: STUDY}`). `validate` builds them
all beforehand on made-up outcomes, so that a campaign does not fail in its third hour over a misspelt option.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from matloop.orchestrator.bundle import CARD, is_bundle
from matloop.orchestrator.composition.binding import KINDS, Place, bind, construct, find, parameters
from matloop.orchestrator.composition.config import Config, ObjectiveConfig, is_path, references, sources
from matloop.orchestrator.composition.earlier import KEYS, earlier
from matloop.orchestrator.composition.outcomes import Outcomes, Recorded, Rehearsal
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError, MatloopError, Problem, Refused
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.evaluation import Limits
from matloop.orchestrator.loop.study import Plan, Study
from matloop.orchestrator.options import Components
from matloop.orchestrator.protocols import (
    Checking,
    Driver,
    Filling,
    Space,
    Surrogate,
    differentiates,
    is_by_people,
    measured_by,
    offers_gradients,
)
from matloop.orchestrator.protocols.drivers import FILLED
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.references import led_to
from matloop.orchestrator.trial import Objective, Point, goals

ROLES: Mapping[str, str] = {role: role for role in KINDS} | {"filler": "strategy"}
"""Options that hold a component, and the table that their kind is looked up in."""


class Builder:
    """Builds the studies of one campaign on given outcomes; each part once.

    Attributes:
        filled: options of spaces that the drivers filled in, by the study that the space stands in; only where no
            earlier study's outcome decides them.
        files: SHA-256 of every file that the campaign names, by the dotted place where it does.
    """

    def __init__(self, config: Config, outcomes: Callable[[Builder], Outcomes]) -> None:
        self.config = config
        self.outcomes = outcomes(self)
        self.files: dict[str, str] = {}
        self.filled: dict[str, dict[str, Any]] = {}
        self._spaces: dict[str, Space] = {}
        self._drivers: dict[str, Driver] = {}

    def study(self, name: str) -> Study:
        """Build one study.

        Raises:
            ConfigError: all that is wrong with it, one a line.
            MissingExtra: it needs an optional package.
        """
        given = self.config.studies[name]
        place = Place(self.config, ("studies", name))
        problems: list[Problem] = []
        built: dict[str, Any] = {}
        steps: dict[str, Callable[[], Any]] = {
            "space": lambda: self.space(name),
            "driver": lambda: self.driver(name),
            "objectives": lambda: self.objectives(name),
            "strategy": lambda: self._strategy(name, "strategy"),
            "filler": lambda: self._strategy(name, "filler") if given.filler else None,
        }
        for part, make in steps.items():
            try:
                built[part] = make()
            except ConfigError as error:
                problems += error.problems
        if (
            not problems
            and not is_by_people(built.get("driver"))  # people stop when they like
            and not self.config.is_aside(name)  # references are a list
            and not any((given.budget.trials, given.budget.seconds, given.budget.cost, given.budget.patience))
        ):
            expected = "expected at least one of trials, seconds, cost, patience"
            problems.append((place / "budget").problem(f"{expected}, got none: the study might never end"))
        if differentiates(built.get("strategy")) and not offers_gradients(built.get("driver")):
            text = (
                "the strategy needs a driver that offers gradients (optics, elasticity), got another; use another "
                "strategy"
            )
            problems.append((place / "strategy").problem(text))
        if problems:
            raise ConfigError(problems=problems)
        executor = self.config.executor
        return Study(
            name=name,
            budget=Budget(**given.budget.model_dump()),
            limits=Limits(
                timeout_s=given.limits.timeout_s or executor.timeout_s,
                memory_gb=given.limits.memory_gb or executor.memory_gb,
            ),
            attempts=given.attempts,
            background=given.background,
            **built,
        )

    def notes(self, study: Study) -> list[str]:
        """What the driver of a study has to say beforehand, if anything; not of data that are made up.

        Raises:
            ConfigError: every trial would fail.
        """
        if not isinstance(study.driver, Checking):
            return []
        try:
            found = study.driver.check(study.space)
        except Refused as error:
            raise ConfigError(problems=[self._placed(study.name, problem) for problem in error.problems]) from error
        made_up = any(references(self.origin(study.name, "driver")[0], ()))
        return [] if made_up else [f"{study.name}: {line}" for line in found]

    def _placed(self, study: str, problem: Problem) -> Problem:
        """Where a driver's problem with its space or itself stands in the file."""
        role, *options = problem.place or ("driver",)
        found = ConfigError(problems=[replace(problem, place=tuple(options))])
        return self.config.refused(self.origin(study, str(role))[1].location, found).problems[0]

    def space(self, study: str) -> Space:
        """Space of a study."""
        if study not in self._spaces:
            self._spaces[study] = self._component("space", *self.origin(study, "space"), study)
        return self._spaces[study]

    def driver(self, study: str) -> Driver:
        """Driver of a study."""
        if study not in self._drivers:
            self._drivers[study] = self._component("driver", *self.origin(study, "driver"), study)
        return self._drivers[study]

    def objectives(self, study: str) -> tuple[Objective, ...]:
        """What the campaign file asks for, completed by what the driver declares.

        Raises:
            ConfigError: neither says, or they contradict each other.
        """
        place = Place(self.config, ("studies", study))
        declared = {o.name: o for o in self.driver(study).objectives}
        offered = measured_by(self.driver(study))
        asked = self.config.studies[study].objectives
        if asked is None:
            if not declared:
                raise (place / "driver").error(
                    "the driver does not say what it measures; add to the study `objectives: {NAME: minimise}`"
                )
            return tuple(declared.values())
        problems: list[Problem] = []
        objectives = []
        for name, given in asked.items():
            at, known = place / "objectives" / name, declared.get(name)
            if declared and known is None:
                problems.append(at.problem(f"the driver does not measure it; {suggest(name, offered)}", at_key=True))
            elif known and known.unit and given.unit not in (None, known.unit):
                problems.append((at / "unit").problem(f"the driver measures in {known.unit!r}, got {given.unit!r}"))
            unit = given.unit if given.unit is not None else known.unit if known else ""
            scale = given.scale or (known.scale if known else "auto")
            objectives.append(given.objective(name, unit, scale))
        if not goals(objectives) and not problems:
            names = ", ".join(asked)
            problems.append(
                (place / "objectives").problem(
                    f"expected one objective that is sought, got limits only ({names}); give one a `direction:`"
                )
            )
        if problems:
            raise ConfigError(problems=problems)
        return tuple(sorted(objectives, key=lambda o: not o.sought))

    def surrogate(self, study: str) -> Surrogate:
        """Surrogate of a study's strategy, a new one at each call."""
        surrogate: Surrogate = self._component("surrogate", *self.origin(study, "strategy", "surrogate"), study)
        return surrogate

    def strategy(self, study: str) -> Any:
        """Strategy of a study, a new one at each call."""
        return self._strategy(study, "strategy")

    def _strategy(self, study: str, key: str) -> Any:
        return self._component("strategy", *self.origin(study, key), study)

    def origin(self, study: str, *keys: str) -> tuple[dict[str, Any], Place]:
        """What stands at an option of a study, `{from: STUDY}` followed to the one that spells it out."""
        place = Place(self.config, ("studies", study, keys[0]))
        found = self.config.component(place.location)
        if "from" in found:
            return self.origin(found["from"], *keys)
        for key in keys[1:]:
            if not found.get(key):
                raise place.error(f"the {keys[0]} of study {study!r} has no {key!r} to share; give a `kind:` instead")
            place /= key
            found = self.config.component(place.location)
            if "from" in found:
                return self.origin(found["from"], *keys)
        return found, place

    def _component(
        self, role: str, spec: Mapping[str, Any], place: Place, study: str, known: Components | None = None
    ) -> Any:
        target = find(role, spec["kind"], place, kinds=known.kinds if known else None)
        options = {key: value for key, value in spec.items() if key != "kind"}
        parts: Mapping[str, Components] = getattr(target, "components", {})

        def build(name: str, value: Any, at: Place) -> tuple[bool, Any]:
            if role == "strategy" and name == "data" and isinstance(value, Mapping) and "from" in value:
                return True, self._data(value, parameters(target)["data"].annotation, at, study)
            if isinstance(value, Mapping) and set(value) == {"from"}:
                return True, self._outcome(role, name, value["from"], at, study)
            if name in parts and isinstance(value, Mapping) and "kind" in value:
                return True, self._component(name, value, at, study, parts[name])
            if name == "drivers" and role == "driver" and isinstance(value, Mapping):
                return True, {key: driver_in(spec, at / key) for key, spec in value.items()}
            if name in ROLES and (isinstance(value, str) or (isinstance(value, Mapping) and "kind" in value)):
                nested = {"kind": value} if isinstance(value, str) else value
                return True, self._component(ROLES[name], nested, at, study)
            return False, None

        def driver_in(spec: Any, at: Place) -> Any:
            replaced, result = build("driver", spec, at)
            if not replaced:
                raise at.error("expected a driver, such as `{kind: optics}` or `{from: STUDY}`")
            return result

        try:
            injected = {} if known else self._injected(role, study, target)
            if role == "space":
                injected |= self._filled(str(place.location[1]), {*parameters(target)} - {*options})
        except ConfigError as error:  # what it rests on is wrong; say what is wrong with it too
            names = dict.fromkeys(
                ("seed", "folder", "space", "objectives", "past", "artifacts", *({*FILLED} - {*options}))
            )
            with also(error):
                bind(target, options, place, injected=names, build=build)
            raise
        arguments = bind(target, options, place, injected=injected, build=build)
        self._remember_files(options, arguments, place)
        if known and not inspect.isclass(target):
            target, arguments = self._wrapper(role, known, place), {"function": spec["kind"], "arguments": arguments}
        made = construct(target, arguments, place)
        if known:
            self._remember_folders(arguments, made, place)
        return made

    def _wrapper(self, role: str, known: Components, place: Place) -> type:
        if not known.function:
            raise (place / "kind").error(f"expected the import path of a class for {role}, got that of a function")
        return find(role, known.function, place, kinds=known.kinds)

    def _filled(self, study: str, unstated: set[str]) -> dict[str, Any]:
        """Options of the space that the driver of a study knows, if it does so without knowing the space.

        Raises:
            ConfigError: the driver is wrong, or what it would know them from.
        """
        if not unstated & {*FILLED}:
            return {}
        spec, place = self.origin(study, "driver")
        if "space" in parameters(find("driver", spec["kind"], place)):
            return {}
        driver = self.driver(study)
        try:
            known = driver.fills if isinstance(driver, Filling) else {}
        except Refused as error:
            raise self.config.refused(place.location, error) from error
        found = {name: value for name, value in known.items() if name in unstated and value is not None}
        if found and not any(references(spec, ())):
            self.filled[study] = found
        return found

    def _injected(self, role: str, study: str, target: type) -> dict[str, Any]:
        """What constructors may ask for by name. Spaces and drivers get the same seed in every study, so that
        studies that are compared measure the same thing."""
        owner = study if role not in ("space", "driver") else ""
        injected: dict[str, Any] = {
            "seed": derive_seed(self.config.seed, owner, role) % 2**31,
            "folder": self.config.folder,
        }
        if role == "space" and "past" in parameters(target):
            injected["past"] = self.outcomes.past(study, self._told_of(study))
        if role == "strategy":
            injected["artifacts"] = self.outcomes.store
        if role not in ("space", "driver") or (role == "driver" and "space" in parameters(target)):
            injected["space"] = self.space(study)
        if role not in ("space", "driver"):
            injected["objectives"] = self.objectives(study)
        elif role == "driver" and (asked := self.config.studies[study].objectives):
            injected["objectives"] = tuple(o.objective(n, o.unit or "", o.scale or "auto") for n, o in asked.items())
        return injected

    def _told_of(self, study: str) -> list[str]:
        """Earlier studies whose trials the strategy of a study is told of."""
        data = self.config.studies[study].strategy.get("data")
        return sources(data["from"]) if isinstance(data, Mapping) and set(data) == {"from"} else []

    def _outcome(self, role: str, name: str, source: str | list[str], at: Place, study: str) -> Any:
        if not isinstance(source, str):
            raise at.error(f"expected the name of one earlier study, got {source}; only a strategy's data take several")
        if name == "network":
            return self._best(source, study)
        if name == "data":
            return self.outcomes.dataset(source)
        if name == "seconds":
            strategies = {other: self.origin(other, "strategy")[0] for other in self.config.studies}
            return sum(self.outcomes.seconds(other) for other in led_to(source, strategies))
        if name in ROLES:
            keys = (name,) if name in ("space", "driver", "strategy", "filler") else ("strategy", name)
            return self._component(ROLES[name], *self.origin(source, *keys), study)
        raise at.error(
            f"`from:` cannot stand here; it can for {', '.join(sorted({'network', 'data', 'seconds', *ROLES}))}"
        )

    def _best(self, source: str, study: str) -> Point | None:
        """Best point of an earlier study, which only references can do without."""
        found = self.outcomes.best(source)
        if found is None and not self.config.is_aside(study):
            raise MatloopError(
                f"study {source!r} has no trial to take the best of: none has values that keep all limits; see "
                "`matloop status`"
            )
        return found

    def _data(self, value: Mapping[str, Any], accepted: Any, at: Place, study: str) -> tuple[Any, ...]:
        """Trials of earlier studies, and results of other campaigns, that a strategy begins with."""
        if unknown := [key for key in value if key not in KEYS]:
            raise (at / unknown[0]).error(f"unknown key; expected {', '.join(KEYS)}")
        given = value["from"] if isinstance(value["from"], list) else [value["from"]]
        paths = [source for source in given if is_path(source)]
        if not paths and set(value) != {"from"}:
            raise at.error("expected `from: STUDY` alone; `study` and `given` are for the path of another campaign")
        if paths and "Earlier" not in str(accepted):
            raise at.error("this strategy cannot learn from other campaigns; use bayesian or active_learning")
        found: list[Any] = [trial for name in sources(given) for trial in self.outcomes.trials(name)]
        for path in paths:
            try:
                one = earlier(
                    path,
                    study=value.get("study"),
                    given=value.get("given") or {},
                    folder=self.config.folder,
                    space=self.space(study),
                    objectives=self.objectives(study),
                )
            except ConfigError as error:
                raise self.config.refused(at.location, error) from error
            self._remember_earlier(one, ".".join(map(str, (*at.location, path))))
            found.append(one)
        return tuple(found)

    def _remember_earlier(self, one: Earlier, key: str) -> None:
        """Note what was read; a session goes on with what it began with."""
        before = self.outcomes.known_files().get(key)
        if before is not None and before != one.mark:
            raise MatloopError(
                f"{one.name} has changed since this campaign was opened: it had {before}, now it has {one.mark}; open "
                "it again, with --accept-changes if the new results are to be taken"
            )
        self.files[key] = one.mark

    def _remember_files(self, options: Mapping[str, Any], arguments: Mapping[str, Any], place: Place) -> None:
        for name, value in options.items():
            if isinstance(value, Mapping):
                continue
            given = arguments[name] if isinstance(arguments[name], list) else [arguments[name]]
            for named in given:
                path = named / CARD if isinstance(named, Path) and is_bundle(named) else named  # it seals the others
                if isinstance(path, Path) and path.is_file():
                    key = ".".join(map(str, (place / name).location))
                    self.files[key if len(given) == 1 else f"{key}: {path.name}"] = _sha256(path)

    def _remember_folders(self, arguments: Mapping[str, Any], made: Any, place: Place) -> None:
        """Note what lies in folders that a part reads, by names and sizes, if it says what it reads."""
        folders = {name: path for name, path in arguments.items() if isinstance(path, Path) and path.is_dir()}
        if not folders or not callable(getattr(made, "files", None)):
            return
        try:
            sizes = {path: path.stat().st_size for path in made.files()}
        except (OSError, ValueError):  # said where they are read
            return
        for name, folder in folders.items():
            inside = [f"{p.relative_to(folder).as_posix()}\0{size}" for p, size in sizes.items() if folder in p.parents]
            listed = hashlib.sha256(os.fsencode("\0".join(sorted(inside))))
            self.files[".".join(map(str, (place / name).location))] = listed.hexdigest()


def validate(config: Config) -> tuple[list[Study], dict[str, Any]]:
    """The first two of what `check` finds, which see."""
    return check(config)[:2]


def check(config: Config) -> tuple[list[Study], dict[str, Any], list[str]]:
    """Build every study on made-up outcomes, and let drivers say what they know beforehand.

    Returns:
        The studies; the resolved campaign for the ledger: the file's content with defaults filled in, the objectives
        as agreed with the drivers, and the hashes of the files that it names; and what drivers have to say.

    Raises:
        ConfigError: everything that is wrong, one a line.
        MissingExtra: an optional package is not installed.
    """
    problems: list[Problem] = []
    studies: list[Study] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="matloop-", ignore_cleanup_errors=True) as folder:
        rehearsed = Builder(config, lambda b: Rehearsal(Path(folder), lambda s: (b.space(s), b.objectives(s))))
        for name in config.studies:
            try:
                studies.append(rehearsed.study(name))
                notes += rehearsed.notes(studies[-1])
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(problems=problems)
    resolved = config.model_dump(mode="json")
    for study in studies:
        resolved["studies"][study.name]["objectives"] = {o.name: ObjectiveConfig.record(o) for o in study.objectives}
        for role in ("space", "driver", "strategy"):
            spec, place = rehearsed.origin(study.name, role)
            filled = rehearsed.filled.get(str(place.location[1]), {}) if role == "space" else {}
            resolved["studies"][study.name][role] = spec | filled
    resolved["files"] = rehearsed.files
    return studies, resolved, notes


def builder(config: Config, history: History, store: ArtifactStore) -> Builder:
    """What builds studies from what earlier ones found."""
    return Builder(config, lambda b: Recorded(history, store, lambda s: (b.space(s), b.objectives(s))))


def plans(config: Config) -> list[Plan]:
    """Studies in order, each to be built when its turn comes."""

    def plan(name: str) -> Plan:
        aside = config.is_aside(name)
        return Plan(name, lambda history, store: builder(config, history, store).study(name), aside=aside)

    return [plan(name) for name in config.studies]


@contextmanager
def also(earlier: ConfigError) -> Iterator[None]:
    """Let an error in the block speak for an earlier one too."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(problems=[*earlier.problems, *error.problems]) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
