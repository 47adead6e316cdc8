"""All changes of a campaign file against the campaign that is on record, study by study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matloop.orchestrator.composition.changes import mixtures, parameters
from matloop.orchestrator.composition.changes.change import Change, arrow, lie, of, unit_change
from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.errors import InvalidPoint, MatloopError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.identity import identity
from matloop.orchestrator.protocols import Composed, Encodable, Parametric, Recalling, Space
from matloop.orchestrator.trial import Trial

STRUCTURED = ("box", "experiment")
"""Kinds of spaces whose parameters, mixtures and constraints are compared one by one."""

COMPARED = ("kind", "parameters", "mixtures", "constraints", "descriptors")
"""Their options that are."""

Options = Mapping[str, Any]


def changes(
    before: Options, after: Options, config: Config, history: History, spaces: Mapping[str, Space]
) -> list[Change]:
    """Every change, in a line each.

    Args:
        before: the resolved campaign on record.
        after: the resolved campaign of the file.
        config: the file.
        history: what is on record.
        spaces: of each study, as the file describes it, told of what is on record.
    """
    old, new = identity(before), identity(after)
    found: list[Change] = []
    olds, news = old.get("studies") or {}, new.get("studies") or {}
    for name in {**olds, **news}:
        inside = [trial for trial in history.of(name) if trial.state != "cancelled"]
        results = [trial for trial in inside if trial.state != "running"]
        several = len(news) > 1
        if name not in news:
            found.append(Change(f"study `{name}` removed: its {len(results)} results stay on record"))
        elif name not in olds:
            found.append(Change(f"study `{name}` added"))
        else:
            was, now = olds[name], news[name]
            lines = [
                *_space(was["space"], now["space"], spaces[name], results, inside),
                *_objectives(was.get("objectives") or {}, now.get("objectives") or {}, config, name, results),
                *_rest(was, now),
            ]
            found += [Change(f"{name}: {c.text}", c.missing, c.keys) for c in lines] if several else lines
    for place, was, now in _leaves(_outside_studies(old), _outside_studies(new)):
        said = "has another content" if place[0] == "files" and was and now else arrow(was, now)
        found.append(Change(f"`{'.'.join(place[1:] if place[0] == 'files' else place)}`: {said}"))
    return found


def _space(
    before: Options, after: Options, space: Space, results: Sequence[Trial], inside: Sequence[Trial]
) -> Iterator[Change]:
    if before != after:
        points = [trial.point for trial in results]
        structured = _is_structured(before, after)
        lines = list(_structured(before, after, space, points)) if structured else []
        yield from lines
        compared = COMPARED if structured else ()
        old, new = ({key: value for key, value in one.items() if key not in compared} for one in (before, after))
        yield from _unstructured(old, new, space, results)
        yield from _waiting(space, inside)
        asked = {key for line in lines if line.missing for key in line.keys}
    else:
        asked = set()
    yield from _without_place(space, results, asked)


def _is_structured(before: Options, after: Options) -> bool:
    return before.get("kind") in STRUCTURED and after.get("kind") in STRUCTURED


def _structured(before: Options, after: Options, space: Any, points: Sequence[Any]) -> Iterator[Change]:
    product = space.product if isinstance(space, Composed) else None
    own: Any = space.parameters if isinstance(space, Parametric) else ()
    if product and product.box:
        own = product.box.parameters
    mixed: Any = product.mixtures if product else ()
    components = [component for mixture in mixed for component in mixture.components]
    options = [spec.get("parameters") or {} for spec in (before, after)]
    yield from parameters.changes(options[0], options[1], own, points, components)
    yield from mixtures.changes(before.get("mixtures") or {}, after.get("mixtures") or {}, mixed, points)
    old, new = (spec.get("constraints") or [] for spec in (before, after))
    yield from mixtures.constraint_changes(old, new, getattr(space, "constraints", ()), points)
    if before.get("descriptors") != after.get("descriptors"):
        said = arrow(before.get("descriptors"), after.get("descriptors"))
        yield Change(f"`space.descriptors`: {said}: the model sees choices otherwise")


def _unstructured(before: Options, after: Options, space: Space, results: Sequence[Trial]) -> Iterator[Change]:
    count = sum(not _belongs(space, trial) for trial in results)
    kept = f"{of(count, len(results))} {lie(count)} outside; nothing is proposed there" if results else of(0, 0)
    for place, was, now in _leaves(before, after):
        yield Change(f"`{'.'.join(('space', *place))}`: {_short(was, now)}: {kept}")


def _short(was: Any, now: Any) -> str:
    return arrow(was, now) if len(f"{was}{now}") < 200 else "changed"


def _waiting(space: Space, inside: Sequence[Trial]) -> Iterator[Change]:
    """Recommendations that nobody would make any more."""
    left = [trial.id for trial in inside if trial.state == "running" and not _belongs(space, trial)]
    if left:
        which = f"trial {left[0]}" if len(left) == 1 else f"trials {', '.join(map(str, left))}"
        yield Change(
            f"{which}, recommended and without a result, {lie(len(left))} outside now; do it all the same or cancel it"
        )


def _without_place(space: Space, results: Sequence[Trial], asked: set[str]) -> Iterator[Change]:
    """Results that the model could not be told of, but for those that something was asked about already."""
    if not (isinstance(space, Recalling) and isinstance(space, Encodable)):
        return
    faults: dict[object, list[tuple[int, str]]] = {}
    for trial in results:
        try:
            space.encode([trial.point])
        except InvalidPoint as error:
            if not asked & {str(key) for problem in error.problems for key in problem.place[:1]}:
                faults.setdefault(error.problems[0].place, []).append((trial.id, str(error)))
    for trials in faults.values():
        first, text = trials[0]
        which = f"trial {first}" if len(trials) == 1 else f"{len(trials)} results, trial {first} the first,"
        have = "has" if len(trials) == 1 else "have"
        yield Change(
            f"{which} {have} no place in the space any more: {text}",
            f"undo the change, or set {'it' if len(trials) == 1 else 'them'} aside with `matloop void`",
        )


def _belongs(space: Space, trial: Trial) -> bool:
    try:
        space.check(trial.point)
    except InvalidPoint:
        return False
    except (MatloopError, TypeError, ValueError, LookupError):
        return False
    return True


def _objectives(
    before: Options, after: Options, config: Config, study: str, results: Sequence[Trial]
) -> Iterator[Change]:
    total, asked = len(results), config.studies[study].objectives or {}
    for name, options in after.items():
        count = sum(name in (trial.values or {}) for trial in results)
        if name not in before:
            kept = "; they are kept for the others" if total > count else ""
            yield Change(
                f"objective `{name}` added: {of(total - count, total)} lack it{kept}"
                if total
                else f"objective `{name}` added: {of(0, 0)}"
            )
            continue
        if options["direction"] != before[name]["direction"]:
            text = f"objective `{name}`: {arrow(before[name]['direction'], options['direction'])}"
            yield Change(f"{text}: {of(count, total)} count the other way round")
        given = asked.get(name)
        said = {**options, "unit_before": given.unit_before if given else None}
        if found := unit_change(f"objective {name}", before[name], said, count):
            yield found
        for place, was, now in _leaves(before[name], options):
            if place[0] not in ("direction", "unit"):
                yield Change(f"objective `{name}`: {'.'.join(place)} {arrow(was, now)}")
    for name in before:
        if name not in after:
            count = sum(name in (trial.values or {}) for trial in results)
            yield Change(f"objective `{name}` removed: {of(count, total)} keep it on record, nothing looks at it")


def _rest(before: Options, after: Options) -> Iterator[Change]:
    parts = ("space", "objectives")
    old, new = ({k: v for k, v in one.items() if k not in parts} for one in (before, after))
    for place, was, now in _leaves(old, new):
        yield Change(f"`{'.'.join(place)}`: {_short(was, now)}")


def _outside_studies(campaign: Options) -> Options:
    return {key: value for key, value in campaign.items() if key != "studies"}


def _leaves(before: Any, after: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two options differ, as deep as both are mappings."""
    if before == after:
        return
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        yield place, before, after
        return
    for key in {**before, **after}:
        yield from _leaves(before.get(key), after.get(key), (*place, str(key)))
