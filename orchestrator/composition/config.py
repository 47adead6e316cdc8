"""The campaign file: its schema, and errors that name the line and the remedy.

Pydantic guards this edge only; what lies behind it are plain frozen values. The options of a component
(space, driver, strategy, …) are checked against its constructor by `matloop.orchestrator.composition.build`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from matloop.orchestrator.composition.files import campaign_file
from matloop.orchestrator.composition.source import Source, suggest
from matloop.orchestrator.errors import ConfigError, Location, Problem, Refused
from matloop.orchestrator.ledger.history import objective
from matloop.orchestrator.loop.patience import PATIENCE_S
from matloop.orchestrator.references import REFERENCES, is_of_references
from matloop.orchestrator.trial import Objective


def _component(value: object) -> object:
    """Accept `box`, `{kind: box, …}` and `{from: STUDY}`; give a mapping."""
    if isinstance(value, str) and value:
        return {"kind": value}
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        return value
    if isinstance(value, dict) and "from" in value:
        if set(value) != {"from"} or not isinstance(value["from"], str):
            raise PydanticCustomError("component", "expected `from: STUDY` alone; leave the other keys out")
        return value
    raise PydanticCustomError("component", "expected a kind, such as `{kind: NAME, option: value}` or just `NAME`")


def _objective(value: object) -> object:
    return {"direction": value} if isinstance(value, str) else value


Component = Annotated[dict[str, Any], BeforeValidator(_component)]
"""`{"kind": NAME, **options}` or `{"from": STUDY}`."""

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ObjectiveConfig(_Section):
    """Direction, unit, scale and limits of a measured quantity; without a direction it only has to keep its limits."""

    direction: Literal["minimise", "maximise"] | None = None
    unit: str | None = None
    unit_before: str | None = None
    scale: Literal["auto", "linear", "log"] | None = None
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None
    at_most: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        low, high = self.at_least, self.at_most
        if self.direction is None and low is None and high is None:
            raise PydanticCustomError(
                "objective", "expected `direction: minimise` or `maximise`, or a limit such as `at_least: 95`"
            )
        if low is not None and high is not None and not low < high:
            raise PydanticCustomError("objective", f"expected at_least below at_most, got {low:g} and {high:g}")
        return self

    def objective(self, name: str, unit: str, scale: str) -> Objective:
        """As the strategies take it."""
        return objective(name, {**self.model_dump(), "unit": unit, "scale": scale})

    @classmethod
    def record(cls, given: Objective) -> dict[str, Any]:
        """An objective as the ledger has it; of limits only those that there are."""
        limits = {"at_least": given.at_least, "at_most": given.at_most}
        direction = given.direction if given.sought else None
        kept = {key: limit for key, limit in limits.items() if limit is not None}
        return {"direction": direction, "unit": given.unit, "scale": given.scale, **kept}


class BudgetConfig(_Section):
    """When a study ends: at the first of these that is reached."""

    trials: Count | None = None
    seconds: Positive | None = None
    cost: Positive | None = None
    target: float | None = None
    patience: Count | None = None
    failures: Count = 20


class LimitsConfig(_Section):
    """What one evaluation may use."""

    timeout_s: Positive | None = None
    memory_gb: Positive | None = None


class ExecutorConfig(_Section):
    """Where evaluations run, and limits for studies that set none of their own."""

    kind: Literal["serial", "local", "mpi", "dask"] = "local"
    slots: Count | None = None
    threads: Count | Literal["auto"] = 1
    timeout_s: Positive | None = None
    memory_gb: Positive | None = None
    trials_per_gpu: Annotated[int, Field(ge=0)] | None = None
    trials_per_child: Count | None = None
    lease_s: Positive | None = None
    outage_s: Annotated[float, Field(ge=0)] = PATIENCE_S
    address: str | None = None
    cluster: dict[str, Any] | None = None


class ReferenceConfig(_Section):
    """What a search of networks is held against, see `matloop.drivers.training.references`."""

    kinds: list[str | dict[str, Any]]
    seeds: Count = 3
    budget: dict[str, Any] | None = None
    tuned: bool = True


def _reference(value: object) -> object:
    if isinstance(value, str):
        return {"kinds": [value]}
    return {"kinds": value} if isinstance(value, list) else value


class StudyConfig(_Section):
    """Space, driver, strategy, objectives and budget of one study."""

    space: Component
    driver: Component
    strategy: Component = Field(default_factory=lambda: {"kind": "bayesian"})
    objectives: dict[str, Annotated[ObjectiveConfig, BeforeValidator(_objective)]] | None = Field(None, min_length=1)
    budget: BudgetConfig = BudgetConfig()
    limits: LimitsConfig = LimitsConfig()
    attempts: Count = 3
    baseline: str | None = None
    bound: str | None = None
    marks: dict[str, float] = Field(default_factory=dict)
    reference: Annotated[ReferenceConfig | None, BeforeValidator(_reference)] = None
    filler: Component | None = None
    background: bool | None = None


def _executor(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class Config(_Section):
    """A whole campaign file."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    executor: Annotated[ExecutorConfig, BeforeValidator(_executor)] = ExecutorConfig()
    studies: dict[str, StudyConfig] = Field(min_length=1)

    _source: Source = PrivateAttr()

    @property
    def path(self) -> Path:
        """The campaign file."""
        return self._source.path

    def is_aside(self, study: str) -> bool:
        """Whether a study is one of references, which nothing is built on and which may fail."""
        return is_of_references({"space": self.studies[study].space})

    @property
    def folder(self) -> Path:
        """Absolute folder of the campaign file; relative paths in the file start here."""
        return self._source.path.resolve().parent

    def problem(self, location: Location, text: str, *, at_key: bool = False) -> Problem:
        """Something that is wrong with the file, with its position; see `Source.problem`."""
        search = referring(str(location[1])) if len(location) > 1 else None
        if search in self.studies and location[0] == "studies" and self.is_aside(str(location[1])):
            location = ("studies", search, "reference", *location[3:])
        return self._source.problem(location, text, at_key=at_key)

    def error(self, location: Location, text: str) -> ConfigError:
        """One problem as an error."""
        return ConfigError(problems=[self.problem(location, text)])

    def refused(self, location: Location, error: Refused) -> ConfigError:
        """What the component at a location refused, each problem at the option that it is about."""
        return ConfigError(
            problems=[
                p if p.position else self.problem(self._source.below(location, p.place), p.text) for p in error.problems
            ]
        )

    @classmethod
    def from_record(cls, recorded: Mapping[str, Any], path: Path) -> Config:
        """The campaign as a ledger has it.

        Args:
            recorded: what `matloop.orchestrator.composition.build.validate` made of the file.
            path: where the file was; relative paths start at its folder.

        Raises:
            ConfigError: what is on record does not make a campaign, as of another program or version.
        """
        try:
            config = cls.model_validate({key: value for key, value in recorded.items() if key != "files"})
        except ValidationError as error:
            raise ConfigError(
                f"what is on record does not make a campaign: {expectation(error.errors()[0])}"
            ) from error
        config._source = Source.silent(path)
        return config

    def component(self, location: Location) -> Any:
        """What the file holds at a location, strings expanded to `{kind: …}`."""
        found: Any = self.studies[str(location[1])].model_dump()
        for element in location[2:]:
            found = found[element]
        return _component(found)


def load(path: Path) -> Config:
    """Read and check a campaign file; `quickstart` and other bare names are campaigns that are shipped with matloop.

    Raises:
        ConfigError: with every error found, one a line.
    """
    source = Source(campaign_file(path))
    try:
        config = Config.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError(problems=[_explain(source, details) for details in error.errors()]) from None
    config._source = source
    problems = [*_names(config), *_references(config)]
    if problems:
        raise ConfigError(problems=problems)
    return _with_references(config)


def referring(study: str) -> str:
    """Name of the search whose references a study would train, by its own name; empty if it would not."""
    return study.removesuffix(f"-{REFERENCES}") if study.endswith(f"-{REFERENCES}") else ""


def _with_references(config: Config) -> Config:
    """The campaign with a study of references for each search that names some, behind all others."""
    studies, problems = dict(config.studies), []
    for name, study in config.studies.items():
        if study.reference is None:
            continue
        if (own := f"{name}-{REFERENCES}") in studies:
            problems.append(
                config.problem(
                    ("studies", own), f"the references of {name!r} get the name {own!r}; rename this study", at_key=True
                )
            )
        problems += _stopped_early(config, name, study.reference)
        studies[own] = _references_of(name, study, study.reference)
    if problems:
        raise ConfigError(problems=problems)
    found = config.model_copy(update={"studies": studies})
    found._source = config._source
    return found


def _stopped_early(config: Config, name: str, reference: ReferenceConfig) -> Iterator[Problem]:
    """Whether a limit that suits the search's trials would stop every training with a longer budget of its own."""
    limit = config.studies[name].limits.timeout_s or config.executor.timeout_s
    seconds = (reference.budget or {}).get("seconds")
    if limit and isinstance(seconds, int | float) and seconds >= limit:
        yield config.problem(
            ("studies", name, "reference", "budget"),
            f"expected fewer seconds than the limit `timeout_s`, at which a training is stopped, {limit:g} s, got "
            f"{seconds:g}; raise `limits: {{timeout_s: …}}` of {name!r}",
        )


def _references_of(name: str, study: StudyConfig, reference: ReferenceConfig) -> StudyConfig:
    source = {"from": name}
    sought = {key: value for key, value in (study.objectives or {}).items() if value.direction is not None}
    asked = {key: value for key, value in sought.items() if key.startswith("validation_")}
    listed = reference.model_dump(exclude={"tuned"}, exclude_none=True)
    return StudyConfig(
        space={"kind": REFERENCES, "network": source, **listed},
        driver={"kind": REFERENCES, "driver": source},
        strategy={"kind": REFERENCES, "seconds": source, "tuned": reference.tuned},
        objectives=asked or None,
        budget=BudgetConfig(failures=10**9),
        limits=study.limits,
        attempts=study.attempts,
    )


_SECTIONS: dict[str, type[BaseModel]] = {
    "studies": StudyConfig,
    "budget": BudgetConfig,
    "limits": LimitsConfig,
    "executor": ExecutorConfig,
    "reference": ReferenceConfig,
    "objectives": ObjectiveConfig,
}


def _explain(source: Source, details: ErrorDetails) -> Problem:
    """One pydantic error in matloop's words."""
    location = details["loc"]
    if details["type"] == "extra_forbidden":
        holder = location[-3] if len(location) > 2 and location[-3] in ("studies", "objectives") else location[-2:-1]
        section = _SECTIONS.get(str(holder[0] if isinstance(holder, tuple) and holder else holder), Config)
        return source.problem(location, f"unknown key; {suggest(location[-1], section.model_fields)}", at_key=True)
    if details["type"] == "missing":
        return source.problem(
            location, f"the key {location[-1]!r} is missing; add `{location[-1]}: …` here", at_key=True
        )
    return source.problem(location, expectation(details))


def expectation(details: ErrorDetails) -> str:
    """What pydantic expected and what came, in one sentence."""
    text = details["msg"].replace("Input should be", "expected", 1).replace("Value error, ", "", 1)
    text = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping", text)
    given = repr(details["input"])
    return f"{text[0].lower()}{text[1:]}, got {given if len(given) <= 60 else given[:57] + '…'}"


def _names(config: Config) -> Iterator[Problem]:
    for name in config.studies:
        if not re.fullmatch(r"[A-Za-z]\w*(-\w+)*", name):
            yield config.problem(
                ("studies", name), f"expected a name of letters, digits, _ and -, got {name!r}", at_key=True
            )


def sources(value: object) -> list[str]:
    """Names of the studies that stand behind `from:`, without the paths of other campaigns."""
    named = [study for study in (value if isinstance(value, list) else [value]) if isinstance(study, str)]
    return [study for study in named if not is_path(study)]


def is_path(source: object) -> bool:
    """Whether what stands behind `from:` is a file or folder of another campaign, and no study of this one."""
    return isinstance(source, str) and (any(sign in source for sign in "/\\") or source.endswith((".yaml", ".yml")))


def references(component: Mapping[str, Any], location: Location) -> Iterator[tuple[Location, str]]:
    """Every `{from: STUDY}`, or `{from: [STUDY, …]}`, among the options of a component and of those inside it."""
    if set(component) == {"from"}:
        for study in sources(component["from"]):
            yield (*location, "from"), study
    elif "kind" in component:
        for key, value in component.items():
            if key == "drivers" and isinstance(value, Mapping):  # of which each is a component
                value = {"kind": key, **value}
            if isinstance(value, Mapping):
                yield from references(value, (*location, key))


def _references(config: Config) -> Iterator[Problem]:
    names = list(config.studies)
    for position, (name, study) in enumerate(config.studies.items()):
        found: list[tuple[Location, str]] = []
        for role in ("space", "driver", "strategy", "filler"):
            component = getattr(study, role)
            found += references(component, ("studies", name, role)) if component else []
        if study.baseline is not None:
            found.append((("studies", name, "baseline"), study.baseline))
        for location, target in found:
            if target in names[:position]:
                continue
            if target in names:
                text = f"expected an earlier study, got {target!r}, which comes {'later' if target != name else 'here'}"
                yield config.problem(location, f"{text}; move it above {name!r}")
            else:
                yield config.problem(location, f"there is no study {target!r}; {suggest(target, names[:position])}")
        if study.bound is not None and study.bound not in {*names} - {name}:
            others = [one for one in names if one != name]
            text = f"expected another study of this campaign, got {study.bound!r}; {suggest(study.bound, others)}"
            yield config.problem(("studies", name, "bound"), text)
