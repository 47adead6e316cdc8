"""From a kind and its YAML options to an object: the constructor's signature is the schema.

The table of kinds is explicit and its modules are imported only when used. A kind may also be an import path
(`package.module:Class`; the campaign file's folder is searched last) or an entry point of another distribution in
the group `matloop.space`, `matloop.driver`, `matloop.strategy`, `matloop.surrogate` or `matloop.predictor`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from matloop.orchestrator.composition.config import Config, expectation
from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import EXTRAS, ConfigError, Location, MatloopError, MissingExtra, Problem, Refused

KINDS: Mapping[str, Mapping[str, str]] = {
    "space": {
        "box": "matloop.search_spaces.box:Box",
        "conv_network": "matloop.search_spaces.networks.conv:ConvNetworks",
        "crystals": "matloop.search_spaces.formulas.crystals:Crystals",
        "dense_network": "matloop.search_spaces.networks.dense:DenseNetworks",
        "density": "matloop.search_spaces.density:Density",
        "experiment": "matloop.search_spaces.experiment.space:Experiment",
        "formulas": "matloop.search_spaces.formulas.space:Formulas",
        "graph_network": "matloop.search_spaces.networks.graph.space:GraphNetworks",
        "latent": "matloop.search_spaces.latent:Latent",
        "pool": "matloop.search_spaces.pool:Pool",
        "references": "matloop.drivers.training.references.space:References",
        "field_network": "matloop.search_spaces.networks.segmentation.space:FieldNetworks",
        "segmentation_network": "matloop.search_spaces.networks.segmentation.space:SegmentationNetworks",
    },
    "driver": {
        "training": "matloop.drivers.training.driver:Training",
        "references": "matloop.drivers.training.references.driver:ReferenceTraining",
        "elasticity": "matloop.drivers.elasticity.driver:Elasticity",
        "optics": "matloop.drivers.optics.driver:Optics",
        "morphology": "matloop.drivers.morphology:Morphology",
        "robust": "matloop.drivers.robust:Robust",
        "several": "matloop.drivers.several:Several",
        "reconstruction": "matloop.drivers.reconstruction:Reconstruction",
        "command": "matloop.drivers.command:Command",
        "manual": "matloop.drivers.manual:Manual",
        "python": "matloop.drivers.function:Function",
        "table": "matloop.drivers.table:Table",
    },
    "strategy": {
        "random": "matloop.orchestrator.strategies.random:Random",
        "space_filling": "matloop.orchestrator.strategies.space_filling:SpaceFilling",
        "evolution": "matloop.orchestrator.strategies.evolution.evolution:Evolution",
        "successive_halving": "matloop.orchestrator.strategies.successive_halving:SuccessiveHalving",
        "active_learning": "matloop.orchestrator.strategies.modelled.active:ActiveLearning",
        "bayesian": "matloop.orchestrator.strategies.modelled.bayes:Bayesian",
        "gp_hedge": "matloop.orchestrator.strategies.modelled.hedge:GPHedge",
        "gradient_ascent": "matloop.orchestrator.strategies.design.ascent:GradientAscent",
        "image_model": "matloop.orchestrator.strategies.design.image_model:ImageModel",
        "inverse_design": "matloop.orchestrator.strategies.design.inverse_design:InverseDesign",
        "topology_optimisation": "matloop.orchestrator.strategies.design.topology:TopologyOptimisation",
        "trust_region": "matloop.orchestrator.strategies.design.trust_region:TrustRegion",
        "confirmation": "matloop.orchestrator.strategies.confirmation:Confirmation",
        "optuna": "matloop.orchestrator.strategies.optuna:OptunaSampler",
        "references": "matloop.orchestrator.strategies.references:References",
    },
    "surrogate": {
        "blend": "matloop.surrogates.blend:Blend",
        "bundle": "matloop.bundles.surrogate:BundleSurrogate",
        "auto": "matloop.surrogates.auto:Auto",
        "conv_gp": "matloop.surrogates.networks.conv_gp:ConvGP",
        "ensemble": "matloop.surrogates.networks.ensemble:Ensemble",
        "forest": "matloop.surrogates.forest:Forest",
        "gp": "matloop.surrogates.gaussian_process.gp:GP",
        "isotropic_gp": "matloop.surrogates.gaussian_process.isotropic:Isotropic",
        "mc_dropout": "matloop.surrogates.networks.dropout:MCDropout",
    },
    "predictor": {"svm": "matloop.surrogates.fitness_svm:FitnessSVM"},
}


@dataclass(frozen=True)
class Place:
    """Where in the campaign file something is said; gives errors their position."""

    config: Config
    location: Location

    def __truediv__(self, key: str | int) -> Place:
        return Place(self.config, (*self.location, key))

    def problem(self, text: str, *, at_key: bool = False) -> Problem:
        """Something that is wrong here."""
        return self.config.problem(self.location, text, at_key=at_key)

    def error(self, text: str) -> ConfigError:
        """The same as an error."""
        return self.config.error(self.location, text)


def find(role: str, kind: str, place: Place, *, kinds: Mapping[str, str] | None = None) -> type:
    """Import the class of a kind.

    Args:
        role: what it is.
        kind: name or import path.
        place: where it is asked for.
        kinds: names of this role, if it is none of `KINDS`.

    Raises:
        ConfigError: no such kind, or it cannot be imported.
        MissingExtra: it needs an optional package.
    """
    ours = KINDS[role] if kinds is None else kinds
    target = kind if ":" in kind else ours.get(kind, "")
    if not target:  # only then is it worth a look at every installed package
        table = {point.name: point.value for point in entry_points(group=f"matloop.{role}")} | dict(ours)
        target = table.get(kind, "")
        if not target:
            raise (place / "kind").error(
                f"unknown {role} {kind!r}; {suggest(kind, table)}, or an import path 'module:Class'"
            )
    module_name, _, class_name = target.partition(":")
    folder = str(place.config.folder)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _import_error(kind, module_name, error, place) from error
    except SystemExit as error:  # which would pass for the end of this program
        raise (place / "kind").error(
            f'importing {module_name!r} calls sys.exit; put what it does as a script under `if __name__ == "__main__":`'
        ) from error
    found = getattr(module, class_name, None)
    if not callable(found):
        names = [
            name for name, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module_name
        ]
        raise (place / "kind").error(f"{module_name} has no class {class_name!r}; {suggest(class_name, names)}")
    return found


def _import_error(kind: str, module: str, error: ImportError, place: Place) -> MatloopError:
    missing = (error.name or "").partition(".")[0]
    if missing in EXTRAS:
        failure = MissingExtra(missing)
        failure.add_note(str(place.problem(f"asked for by {kind!r}")))
        return failure
    if missing and missing != module.partition(".")[0] and importlib.util.find_spec(missing) is None:
        return (place / "kind").error(f"{kind!r} needs the package {missing!r}, which is not installed: {error}")
    return (place / "kind").error(
        f"cannot import {module!r}: {error}; expected a module that is installed or lies in {place.config.folder}"
    )


def parameters(target: type) -> dict[str, inspect.Parameter]:
    """Keyword parameters of a constructor, annotations resolved where they can be."""
    signature = inspect.signature(target)
    namespace = getattr(target, "__globals__", None) or getattr(target.__init__, "__globals__", {})  # type: ignore[misc]
    return {
        name: p.replace(annotation=_resolve(p.annotation, namespace))
        for name, p in signature.parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


def _resolve(annotation: Any, namespace: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, str):
        try:
            return eval(annotation, dict(namespace))
        except NameError:  # imported for type checkers only
            return Any
    return annotation


def bind(
    target: type,
    options: Mapping[str, Any],
    place: Place,
    *,
    injected: Mapping[str, Any],
    build: Callable[[str, Any, Place], tuple[bool, Any]],
) -> dict[str, Any]:
    """Keyword arguments for a constructor.

    Args:
        target: the class.
        options: from the campaign file.
        place: where they stand.
        injected: what matloop fills in where the constructor has a parameter of that name.
        build: given the name, value and place of an option, says whether it stands for something else
            (a component, an earlier study's outcome), and what.

    Raises:
        ConfigError: unknown, missing or ill-typed options, all of them, one a line.
    """
    accepted = parameters(target)
    free = {name for name in accepted if name not in injected or name == "seed"}
    arguments = {name: value for name, value in injected.items() if name in accepted}
    problems: list[Problem] = []
    for name, value in options.items():
        at = place / name
        if name in accepted and name not in free:
            problems.append(at.problem("is filled in by matloop; remove it", at_key=True))
        elif name not in accepted:
            problems.append(at.problem(f"unknown option of {target.__name__}; {suggest(name, free)}", at_key=True))
        else:
            try:
                replaced, result = build(name, value, at)
                arguments[name] = result if replaced else _convert(value, accepted[name].annotation, at)
            except ConfigError as error:
                problems += error.problems
    problems += [
        place.problem(f"{target.__name__} needs the option {name!r}; add `{name}: …`")
        for name, p in accepted.items()
        if p.default is p.empty and name not in arguments and name not in options
    ]
    if problems:
        raise ConfigError(problems=problems)
    return arguments


def _convert(value: Any, annotation: Any, place: Place) -> Any:
    """Validate a YAML value against a type hint; relative paths start at the campaign file's folder."""
    try:
        try:
            adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:  # the type brings its own configuration
            adapter = TypeAdapter(annotation)
        result = adapter.validate_python(value)
    except ValidationError as error:
        found = error.errors()
        deepest = max(len(details["loc"]) for details in found)
        problems = [
            place.config.problem((*place.location, *details["loc"]), expectation(details))
            for details in found
            if len(found) == 1 or len(details["loc"]) == deepest
        ]
        raise ConfigError(problems=problems) from None
    return _absolute(result, annotation, place.config.folder)


def _absolute(value: Any, annotation: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, str) and Path in get_args(annotation) and (folder / value).exists():
        return folder / value  # `str | Path`: a shipped name, unless there is such a file
    if isinstance(value, list):
        return [_absolute(item, get_args(annotation)[0] if get_args(annotation) else Any, folder) for item in value]
    return value


def construct(target: type, arguments: Mapping[str, Any], place: Place) -> Any:
    """Call the constructor; whatever it refuses is an error in the campaign file.

    Raises:
        ConfigError: with the constructor's own text, at the option that it names (`ConfigError(…, at="option")`), else
            at the component.
        MissingExtra: an optional package is missing.
    """
    try:
        return target(**arguments)
    except MissingExtra as error:
        error.add_note(str(place.problem(f"asked for by {target.__name__!r}")))
        raise
    except ImportError as error:
        raise _import_error(target.__name__, target.__module__, error, place) from error
    except Refused as error:
        raise place.config.refused(place.location, error) from error
    except (MatloopError, ValueError, TypeError, LookupError, OSError) as error:
        text = str(error) if isinstance(error, MatloopError | ValueError) else f"{type(error).__name__}: {error}"
        raise place.error(text) from error
