"""Conditions on a point as text, such as `0.3 * a + b <= 10 and solvent != "water"`, and numbers worked out from one.

The text is parsed by Python's own parser, then only these are let through: numbers and texts, names of parameters,
arithmetic, comparisons, `in`, `and`, `or`, `not`, `x if condition else y`, and the functions below. Nothing in it is
executed as Python. A name that is no Python name goes between backticks: `` `speed (rpm)` * 2 <= 1000 ``.

What cannot be computed whatever the point, as `9**9**9` cannot, is an error of the text. What cannot be computed at
some point alone, as `exp(a)` cannot where a is large, does not hold there.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Point
from matloop.search_spaces.parameter import suggest

Violation = Callable[[Point], float]
"""0 where a condition holds, else how far it is from holding, > 0."""

Term = Callable[[Point], Any]

TOLERANCE = 1e-9
"""Of the larger side of a comparison, or of 1: what floating-point sums may be off."""

LONGEST = 10_000
"""Characters of a text."""

DEEPEST = 100
"""Levels of brackets, functions and conditions; a sum of many terms is one."""

SHOWN = 200
"""Characters of a text that errors show."""

FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "exp": math.exp, "log": math.log, "log10": math.log10, "sqrt": math.sqrt,
}  # fmt: skip
ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
}  # fmt: skip
OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


class Expression:
    """A condition on a point.

    Args:
        text: see above.
        names: name to the choices of a categorical parameter, or to () for a number.

    Attributes:
        names: those that it mentions.

    Raises:
        ConfigError: what in the text is wrong, and the remedy.
    """

    def __init__(self, text: str, names: Mapping[str, Sequence[Any]]) -> None:
        self.text = text
        self._known = dict(names)
        self._violation, self.names = _read(f"constraint {_shown(text)!r}", text, names, _Reader.condition)

    def violation(self, point: Point) -> float:
        """0 if the condition holds, else > 0; infinite where it cannot be computed, as log(0) cannot.

        A condition on a parameter that is not part of the point does not apply, and so holds.
        """
        if any(name not in point for name in self.names):
            return 0.0
        try:
            found = self._violation(point)
        except (ArithmeticError, ValueError):
            return math.inf
        return math.inf if math.isnan(found) else found

    def __reduce__(self) -> tuple[Any, ...]:
        return Expression, (self.text, self._known)


class Formula:
    """A number worked out from a point, such as `0.5 + 0.02 * hours` or `9 if gas == "argon" else 1`.

    Args:
        text: see above.
        names: as of an `Expression`.
        what: what it is for, in errors.

    Attributes:
        names: those that it mentions.

    Raises:
        ConfigError: what in the text is wrong, and the remedy.
    """

    def __init__(self, text: str, names: Mapping[str, Sequence[Any]], what: str = "formula") -> None:
        self.text = text
        self._known, self._what = dict(names), what
        self._term, self.names = _read(f"{what} {_shown(text)!r}", text, names, _Reader.number)

    def __call__(self, point: Point) -> float:
        """Its value, in which what is not part of the point counts 0.

        Infinite where it is too large to be computed, not a number where it cannot be computed otherwise.
        """
        try:
            return float(self._term({**dict.fromkeys(self.names, 0), **point}))
        except OverflowError:
            return math.inf
        except (ArithmeticError, ValueError):
            return math.nan

    def __reduce__(self) -> tuple[Any, ...]:
        return Formula, (self.text, self._known, self._what)


def _read(
    what: str, text: str, names: Mapping[str, Sequence[Any]], read: Callable[[_Reader, ast.expr], Term]
) -> tuple[Term, tuple[str, ...]]:
    """The function that a text stands for, and the names that it mentions."""
    if len(text) > LONGEST:
        raise ConfigError(f"{what} has {len(text)} characters, expected at most {LONGEST}; split it")
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        quoted[f"_quoted{len(quoted)}"] = match[1].strip()
        return f" _quoted{len(quoted) - 1} "

    try:
        tree = ast.parse(re.sub(r"`([^`]*)`", stand_in, text).strip(), mode="eval")
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{what} is nested too deeply; split it") from error
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{what} cannot be read: {getattr(error, 'msg', error)}") from error
    reader = _Reader(what, names, quoted)
    found = read(reader, tree.body)
    if not reader.mentioned:
        raise ConfigError(f"{what} mentions no parameter; known are {list(names)}")
    return found, tuple(reader.mentioned)


class _Reader:
    """From syntax to functions of a point."""

    def __init__(self, what: str, names: Mapping[str, Sequence[Any]], quoted: Mapping[str, str]) -> None:
        self._what, self._names, self._quoted = what, names, quoted
        self.mentioned: dict[str, None] = {}
        self._depth = 0

    def condition(self, node: ast.expr, wanted: bool = True) -> Violation:
        """How far from holding (or, unless wanted, from not holding)."""
        with self._deeper():
            return self._condition(node, wanted)

    def number(self, node: ast.expr) -> Term:
        """Its value."""
        with self._deeper():
            term = self._number(node)
        if not isinstance(node, ast.Constant) and _constant(node):
            self._check(node, term)
        return term

    def _condition(self, node: ast.expr, wanted: bool) -> Violation:
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(value, wanted) for value in node.values]
            return _all(parts) if isinstance(node.op, ast.And) == wanted else _any(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node.operand, not wanted)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [self._compare(a, op, b, wanted) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
            return _all(parts) if wanted else _any(parts)
        if isinstance(node, ast.Name) and {type(choice) for choice in self._choices(node)} == {bool}:
            name = self._name(node)
            return lambda point: float(point[name] is not wanted)
        raise self._error(f"expected a comparison such as `a + b <= 10`, got `{_source(node)}`")

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr, wanted: bool) -> Violation:
        kind = type(op) if wanted else OPPOSITE.get(type(op), type(op))
        if kind in (ast.In, ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                raise self._error(f"expected a list of values after `in`, got `{_source(right)}`")
            same, combine = (ast.Eq(), _any) if kind is ast.In else (ast.NotEq(), _all)
            return combine([self._compare(left, same, value, True) for value in right.elts])
        if kind not in (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq):
            raise self._error("expected one of < <= > >= == != in")
        if kind in (ast.Eq, ast.NotEq) and (self._is_choice(left) or self._is_choice(right)):
            return self._equal(left, right, kind is ast.Eq)
        return _numeric(kind, self.number(left), self.number(right))

    def _equal(self, left: ast.expr, right: ast.expr, wanted: bool) -> Violation:
        """Equality of a choice and a text, or of two choices."""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, ast.Constant) and isinstance(other, ast.Name):
                choices = self._choices(other)
                if not any(one.value == c and isinstance(one.value, bool) == isinstance(c, bool) for c in choices):
                    raise self._error(
                        f"{one.value!r} is no value of {self._name(other)!r}; {suggest(one.value, choices)}"
                    )
        a, b = self._value(left), self._value(right)
        return lambda point: float((a(point) == b(point)) != wanted)

    def _is_choice(self, node: ast.expr) -> bool:
        """Whether it is a text, or a parameter whose values are not all numbers."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str | bool)
        choices = self._choices(node) if isinstance(node, ast.Name) else ()
        return any(isinstance(choice, str | bool) for choice in choices)

    def _value(self, node: ast.expr) -> Term:
        if isinstance(node, ast.Constant):
            value = node.value
            return lambda point: value
        if isinstance(node, ast.Name):
            return operator.itemgetter(self._name(node))
        raise self._error(f"expected a parameter or a text, got `{_source(node)}`")

    def _number(self, node: ast.expr) -> Term:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return self._literal(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            name = self._name(node)
            if self._is_choice(node):
                raise self._error(f"expected a number, got {name!r}, whose values are {list(self._choices(node))}")
            return operator.itemgetter(name)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner, sign = self.number(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0
            return lambda point: sign * inner(point)
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            return self._chain(node)
        if isinstance(node, ast.IfExp):
            broken, then, otherwise = self.condition(node.test), self.number(node.body), self.number(node.orelse)
            return lambda point: otherwise(point) if broken(point) else then(point)
        if isinstance(node, ast.Call):
            return self._call(node)
        raise self._error(f"expected a number, got `{_source(node)}`")

    def _literal(self, value: int | float) -> Term:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._error(f"expected numbers of at most {sys.float_info.max:.1e}, got a larger one")
        return lambda point: number

    def _chain(self, node: ast.expr) -> Term:
        """What is worked out from left to right, as `a + b - c` is, however long."""
        parts: list[ast.BinOp] = []
        while isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not (parts and _constant(node)):
            parts.append(node)
            node = node.left
        first = self.number(node)
        steps = [(ARITHMETIC[type(part.op)], self.number(part.right)) for part in reversed(parts)]
        if len(steps) == 1:
            ((combine, last),) = steps
            return lambda point: combine(first(point), last(point))

        def value(point: Point) -> Any:
            found = first(point)
            for combine, term in steps:
                found = combine(found, term(point))
            return found

        return value

    def _check(self, node: ast.expr, term: Term) -> None:
        """Raise ConfigError if what holds no parameter cannot be computed."""
        try:
            value, why = float(term({})), "it is too large"
        except OverflowError:
            value, why = math.inf, "it is too large"
        except (ArithmeticError, ValueError):
            value, why = math.nan, "it is not a number"
        if not math.isfinite(value):
            raise self._error(
                f"`{_source(node)}` cannot be computed: {why if value == value else 'it is not a number'}"
            )

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"is nested too deeply, more than {DEEPEST} levels; split it")
        try:
            yield
        finally:
            self._depth -= 1

    def _call(self, node: ast.Call) -> Term:
        called = node.func.id if isinstance(node.func, ast.Name) else _source(node.func)
        if called not in FUNCTIONS:
            raise self._error(f"unknown function {called!r}; known are {', '.join(FUNCTIONS)}")
        several = called in ("min", "max")
        if node.keywords or (len(node.args) < 2 if several else len(node.args) != 1):
            raise self._error(f"expected {called} with {'two or more numbers' if several else 'one number'}")
        function, arguments = FUNCTIONS[called], [self.number(argument) for argument in node.args]
        return lambda point: function(*(argument(point) for argument in arguments))

    def _choices(self, node: ast.Name) -> Sequence[Any]:
        return self._names[self._name(node)]

    def _name(self, node: ast.Name) -> str:
        name = self._quoted.get(node.id, node.id)
        if name not in self._names:
            raise self._error(f"unknown name {name!r}; {suggest(name, list(self._names))}")
        self.mentioned[name] = None
        return name

    def _error(self, text: str) -> ConfigError:
        return ConfigError(f"{self._what}: {text}")


def _constant(node: ast.expr) -> bool:
    """Whether it holds no parameter."""
    parts: list[ast.AST] = [node]
    while parts:
        part = parts.pop()
        if isinstance(part, ast.Name):
            return False
        called = part.func if isinstance(part, ast.Call) else None
        parts += [inner for inner in ast.iter_child_nodes(part) if inner is not called]
    return True


def _source(node: ast.AST) -> str:
    """As it may be written, as far as an error shows it."""
    try:
        return _shown(ast.unparse(node))
    except RecursionError:
        return "…"


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _numeric(kind: type[ast.cmpop], left: Term, right: Term) -> Violation:
    def violation(point: Point) -> float:
        a, b = float(left(point)), float(right(point))
        slack = TOLERANCE * max(1.0, abs(a), abs(b))
        excess = b - a if kind in (ast.Gt, ast.GtE) else a - b
        if not (math.isfinite(a) and math.isfinite(b)):
            return math.inf
        if kind in (ast.Lt, ast.Gt):
            return 0.0 if excess < 0 else excess + slack
        if kind is ast.NotEq:
            return float(abs(excess) <= slack)
        excess = abs(excess) if kind is ast.Eq else excess
        return excess if excess > slack else 0.0

    return violation


def _all(parts: Sequence[Violation]) -> Violation:
    return parts[0] if len(parts) == 1 else lambda point: sum(part(point) for part in parts)


def _any(parts: Sequence[Violation]) -> Violation:
    return parts[0] if len(parts) == 1 else lambda point: min(part(point) for part in parts)
