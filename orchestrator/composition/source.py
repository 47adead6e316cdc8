"""A YAML file that remembers the line and column of every key and value, so that errors can point at them.

Scalars follow the YAML 1.2 core schema: `1e-5` is a number, and `no`, `on` and `12:30` are text. What only a file that
was made to do harm holds is refused: thousands of levels, aliases that unfold to millions of values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import yaml

from matloop.orchestrator.errors import ConfigError, Location, Position, Problem

DEEPEST = 100
"""Levels of lists and mappings."""

MOST_REPEATED = 10_000
"""Values that aliases may repeat, all together; and keys of one mapping after merging."""

LONGEST_NUMBER = 300
"""Digits of a whole number: it has to fit among the floating-point ones."""


class _Loader(yaml.SafeLoader):
    """Safe loader with the scalars of YAML 1.2, and with limits."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own way to configure a loader)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As the loader does, but only so deep."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            text = f"nested more than {DEEPEST} levels deep; take levels away"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge as the loader does, but only so much."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_REPEATED:
            raise _error(f"merging gives {len(node.value)} keys, expected at most {MOST_REPEATED}; write fewer", node)


_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), [*"-+0123456789"])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    [*"-+.0123456789"],
)


def _integer(_: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > LONGEST_NUMBER:
        raise _error(f"expected a number of at most {LONGEST_NUMBER} digits, got {len(node.value)}", node)
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class Source:
    """A parsed YAML file.

    Attributes:
        path: the file.
        data: its content as plain dicts, lists and scalars.

    Raises:
        ConfigError: the file cannot be read, is not valid YAML, repeats a key, or does not hold a mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._keys: dict[Location, tuple[int, int]] = {}
        self._values: dict[Location, tuple[int, int]] = {}
        self._met: set[int] = set()
        self._repeated = 0
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigError(f"no campaign file at {self.path}; `matloop init` writes one to start from") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {self.path}: {error}; expected a YAML text file in UTF-8") from error
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            self.data = self._construct(loader, node, (), ()) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            position = Position(str(self.path), *((mark.line + 1, mark.column + 1) if mark else ()))
            raise ConfigError(problems=[Problem(str(error.problem or error.context), position=position)]) from error
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"{self.path}: not valid YAML: {error}") from error
        if not isinstance(self.data, dict):
            raise ConfigError(
                f"{self.path}: expected keys such as `name:` and `studies:`, got "
                f"{'an empty file' if self.data is None else type(self.data).__name__}; see `matloop init`"
            )

    @classmethod
    def silent(cls, path: Path) -> Self:
        """A source that knows no positions: for a campaign that was read back from a ledger."""
        source = cls.__new__(cls)
        source.path, source.data, source._keys, source._values = Path(path), {}, {}, {}
        return source

    def problem(self, location: Location, text: str, *, at_key: bool = False) -> Problem:
        """Something that is wrong with the file, with its position.

        Args:
            location: may lead deeper than the file does, and hold elements that the file does not; the
                position is then that of the nearest enclosing value.
            text: what was expected, what came, and the remedy.
            at_key: point at the key rather than at its value.
        """
        text = " ".join(text.split())
        if not self._values:
            return Problem(text, location, position=Position(str(self.path)))
        known: Location = ()
        for element in location:
            if (*known, element) in self._values:
                known = (*known, element)
        positions = self._keys if at_key and known in self._keys else self._values
        return Problem(text, known, position=Position(str(self.path), *positions[known]))

    def below(self, location: Location, inner: Location) -> Location:
        """A location and, of the keys that lead further in, those that the file holds."""
        for element in inner:
            if self._values and (*location, element) not in self._values:
                break
            location = (*location, element)
        return location

    def _construct(self, loader: _Loader, node: yaml.Node, location: Location, inside: tuple[int, ...]) -> Any:
        if id(node) in inside:
            raise _error("an alias refers to the value that contains it", node)
        self._count(node)
        inside = (*inside, id(node))
        self._values[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise _error(f"unknown tag {node.tag!r}; remove it", node)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(loader, item, (*location, i), inside) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            loader.flatten_mapping(node)
            result = {}
            for key_node, value_node in node.value:
                key = _scalar(loader, key_node)
                name = key if isinstance(key, str | int) and not isinstance(key, bool) else str(key)
                self._keys[(*location, name)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                result[name] = self._construct(loader, value_node, (*location, name), inside)
            return result
        return _scalar(loader, node)

    def _count(self, node: yaml.Node) -> None:
        """Refuse aliases that unfold to more than people mean."""
        self._repeated += id(node) in self._met
        self._met.add(id(node))
        if self._repeated > MOST_REPEATED:
            raise _error(f"aliases repeat more than {MOST_REPEATED} values, this one among them; write fewer", node)


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    """Its value, which can be written again.

    Raises:
        MarkedYAMLError: it is none.
    """
    try:
        value = loader.construct_object(node, deep=True)
    except ValueError as error:
        raise _error(str(error), node) from error
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _error(f"{value[error.start : error.end]!r} is half of a character; write the whole", node) from error
    return value


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse keys that are not plain, and keys given twice."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _error("expected a plain key, got a list or a mapping", key)
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            text = f"the key {key.value!r} was already given in line {seen[key.value]}; remove or rename one of them"
            raise _error(text, key)
        seen[key.value] = key.start_mark.line + 1


def _error(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def suggest(word: object, accepted: Iterable[str]) -> str:
    """Remedy for an unknown word: the nearest accepted one, and all of them."""
    names = sorted(accepted)
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}accepted: {', '.join(names) or 'none'}"
