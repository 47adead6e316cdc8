"""What every search space must do. Subclass `SpaceContract` in a test file and give it a fixture `space`.

A test for a capability that the space does not claim is skipped.
"""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, ks_2samp

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Array, Countable, Drawing, Encodable, Evolvable, Finite, Space, Vectorised
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.search_spaces.columns import blocks, labels

seeds = st.integers(0, 2**32 - 1)
many = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
C = TypeVar("C")

DRAWN = 600
"""Samples that a space's start is compared with."""


def capable(space: Space, capability: type[C]) -> C:
    """The space as one with that capability; skips the test otherwise."""
    if not isinstance(space, capability):
        pytest.skip(f"{type(space).__name__} is not {capability.__name__}")
    return space


def draw(space: Space, seed: int) -> Any:
    return space.sample(np.random.default_rng(seed))


def close(a: Any, b: Any) -> bool:
    """Whether two points are equal, numbers to 1e-9."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return type(a) is type(b) and a == b


def samples(space: Space, n: int) -> list[Any]:
    rng = derive("samples of the space")
    return list(space.draw(n, rng)) if isinstance(space, Drawing) else [space.sample(rng) for _ in range(n)]


class Start:
    """A design of up to 64 points, encoded, beside samples of the space; skips the test in a space of too few points.

    Attributes:
        x: (n, d) float64, the design.
        y: (m, d) float64, the samples; of a Finite space all of its points.
    """

    def __init__(self, space: Space) -> None:
        encoder = capable(space, Encodable)
        drawn = list(space.points) if isinstance(space, Finite) else samples(space, DRAWN)
        often = Counter(json.dumps(point, sort_keys=True) for point in drawn)
        # a design has no point twice: it can follow the samples only as far as these have none twice
        n = min(64, len(often) // 4, int(len(drawn) / (max(often.values()) - 1 or 1)))
        if n < 8:
            pytest.skip(f"samples of the space have {len(often)} points, too few to tell a design from others")
        self.x: Array = encoder.encode([p.point for p in SpaceFilling(space=space, seed=5).ask(n, (), derive(0))])
        self.y: Array = encoder.encode(drawn)
        columns = labels(space) or ()
        self._choices = [i for _, kind, i in blocks(columns) if kind == "category" and len(i) > 1]

    def check_columns(self) -> None:
        """Each is distributed as in the samples (Kolmogorov and Smirnov), and no oftener at its ends (binomial)."""
        for i in range(self.x.shape[1]):
            design, drawn = np.round(self.x[:, i], 9), np.round(self.y[:, i], 9)
            assert ks_2samp(design, drawn, method="asymp").pvalue > 0.01, f"column {i} is distributed otherwise"
            for end in (drawn.min(), drawn.max()):
                count, share = int((design == end).sum()), float((drawn == end).mean())
                assert count <= 1 or binomtest(count, len(design), share, "greater").pvalue > 1e-3, f"column {i}: {end}"

    def check_choices(self) -> None:
        """Each is taken in its turn: its number is off by 1 and one standard deviation of chance at most."""
        for indices in self._choices:
            counts, share = self.x[:, indices].sum(axis=0), self.y[:, indices].mean(axis=0)
            chance = np.sqrt(len(self.x) * share * (1 - share))
            assert (abs(counts - len(self.x) * share) <= 1 + chance).all(), (counts, len(self.x) * share)

    def check_evenness(self) -> None:
        """All columns together stand for the samples better than as many samples do (energy distance)."""
        y, others = self.y[::2], self.y[1::2]
        spread = np.where(y.std(axis=0) > 0, y.std(axis=0), 1.0)

        def energy(some: Array) -> float:
            return float(2 * cdist(some / spread, y / spread).mean() - cdist(some / spread, some / spread).mean())

        rng = derive("chance")
        some = min(len(self.x), len(others))
        chance = [energy(others[rng.choice(len(others), some, replace=False)]) for _ in range(20)]
        assert energy(self.x) < np.median(chance)


class SpaceContract:
    """Tests for a space; the subclass has a fixture `space`."""

    @pytest.fixture
    def space(self) -> Space:
        raise NotImplementedError("a subclass of SpaceContract defines the fixture `space`")

    @many
    @given(seed=seeds)
    def test_samples_are_valid_and_json(self, space, seed):
        point = draw(space, seed)
        space.check(point)
        restored = json.loads(json.dumps(point, allow_nan=False))
        assert restored == point
        space.check(restored)

    def test_a_sample_depends_on_the_generator_alone(self, space):
        first = [draw(space, seed) for seed in range(20)]
        np.random.default_rng(99).random()
        assert first == [draw(space, seed) for seed in range(20)]
        assert any(point != first[0] for point in first)

    def test_check_names_an_unknown_key(self, space):
        with pytest.raises(InvalidPoint, match="surplus"):
            space.check({**draw(space, 1), "surplus": 1})

    def test_check_names_a_missing_key(self, space):
        point = draw(space, 2)
        for key in point:
            with pytest.raises(InvalidPoint, match=key):
                space.check({k: value for k, value in point.items() if k != key})

    @pytest.mark.parametrize("garbage", [None, "garbage", math.nan, math.inf, {}, [[None]], {"a": 1}, -1e300])
    def test_check_names_a_bad_value(self, space, garbage):
        point = draw(space, 3)
        for key in point:
            if point[key] == garbage:
                continue
            with pytest.raises(InvalidPoint, match=key):
                space.check({**point, key: garbage})

    @pytest.mark.parametrize("garbage", [None, 3, "garbage", [], {}])
    def test_check_rejects_what_is_no_point(self, space, garbage):
        with pytest.raises(InvalidPoint):
            space.check(garbage)

    @many
    @given(seed=seeds)
    def test_mutants_and_children_are_valid_and_new(self, space, seed):
        space = capable(space, Evolvable)
        a, b = draw(space, seed), draw(space, seed + 1)
        before = copy.deepcopy((a, b))
        rng = np.random.default_rng(seed)
        for _ in range(5):
            mutant, child = space.mutate(a, rng), space.cross(a, b, rng)
            space.check(mutant)
            space.check(child)
            json.dumps([mutant, child], allow_nan=False)
            assert mutant != a
            assert (a, b) == before
            a, b = mutant, child
            before = copy.deepcopy((a, b))

    def test_variation_depends_on_the_generator_alone(self, space):
        space = capable(space, Evolvable)
        a, b = draw(space, 4), draw(space, 5)

        def vary(seed):
            rng = np.random.default_rng(seed)
            return space.mutate(a, rng), space.cross(a, b, rng)

        assert [vary(seed) for seed in range(10)] == [vary(seed) for seed in range(10)]
        assert len({json.dumps(vary(seed)) for seed in range(20)}) > 1

    def test_a_copy_is_not_tied_to_its_parent(self, space):
        space = capable(space, Evolvable)
        a, b = draw(space, 6), draw(space, 7)
        before = copy.deepcopy((a, b))
        for point in (space.mutate(a, np.random.default_rng(0)), space.cross(a, b, np.random.default_rng(0))):
            _scribble(point)
            assert (a, b) == before

    def test_encoding_has_fixed_shape_and_finite_numbers(self, space):
        space = capable(space, Encodable)
        points = [draw(space, seed) for seed in range(30)]
        x = space.encode(points)
        assert x.shape == (30, space.dimension)
        assert x.dtype == np.float64
        assert np.isfinite(x).all()
        assert space.encode([]).shape == (0, space.dimension)
        assert np.array_equal(space.encode(points[3:5]), x[3:5])
        assert len(np.unique(x, axis=0)) > 1

    @many
    @given(seed=seeds)
    def test_encoding_is_undone_by_decoding(self, space, seed):
        space = capable(space, Vectorised)
        point = draw(space, seed)
        x = space.encode([point])
        lower, upper = space.bounds
        assert space.bounds.shape == (2, space.dimension)
        assert (lower <= x).all() and (x <= upper).all()
        assert close(space.decode(x[0]), point)

    @many
    @given(seed=seeds)
    def test_any_vector_within_bounds_decodes(self, space, seed):
        space = capable(space, Vectorised)
        rng = np.random.default_rng(seed)
        lower, upper = space.bounds
        corner = np.where(rng.random(space.dimension) < 0.5, lower, upper)
        for x in (rng.uniform(lower, upper), corner, lower, upper):
            point = space.decode(x)
            space.check(point)
            assert close(space.decode(space.encode([point])[0]), point)

    def test_a_start_stands_for_the_samples(self, space):
        start = Start(space)
        start.check_columns()
        start.check_choices()
        start.check_evenness()

    def test_many_draws_are_distributed_as_samples_are(self, space):
        drawing, encoder = capable(space, Drawing), capable(space, Encodable)
        points = drawing.draw(300, derive("many"))
        assert len(points) == 300
        for point in points:
            space.check(point)
        x, y = encoder.encode(points), encoder.encode([draw(space, seed) for seed in range(300)])
        for i in range(encoder.dimension):
            assert ks_2samp(np.round(x[:, i], 9), np.round(y[:, i], 9), method="asymp").pvalue > 1e-4, f"column {i}"

    def test_a_list_of_few_points_is_whole(self, space):
        points = capable(space, Countable).listed(20_000)
        if points is None:
            pytest.skip("not few points")
        for point in points:
            space.check(point)
        keys = {json.dumps(point, sort_keys=True) for point in points}
        assert len(keys) == len(points)
        assert {json.dumps(draw(space, seed), sort_keys=True) for seed in range(50)} <= keys

    def test_listed_points_belong_to_it_once(self, space):
        space = capable(space, Finite)
        points = space.points
        assert len(points) > 0
        for point in points:
            space.check(point)
        assert len({json.dumps(point, sort_keys=True) for point in points}) == len(points)
        assert all(draw(space, seed) in points for seed in range(20))


def _scribble(value: Any) -> None:
    """Change everything inside that can be changed."""
    if isinstance(value, dict):
        for inner in value.values():
            _scribble(inner)
        value["scribble"] = True
    elif isinstance(value, list):
        for inner in value:
            _scribble(inner)
        value.append("scribble")
