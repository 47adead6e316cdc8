"""Parts of spaces: all that they sample, vary and decode is as wished, valid in the whole, and encoded like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.protocols import Finite, Narrowable, Vectorised
from tests.search_spaces.narrowing.parts import KINDS, fulfils, random_space, random_wish

many = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("kind", KINDS)
@many
@given(seed=st.integers(0, 2**32 - 1))
def test_all_that_comes_from_a_part_is_as_wished(kind, seed):
    rng = np.random.default_rng(seed)
    space = random_space(kind, rng)
    assert isinstance(space, Narrowable)
    wish = random_wish(space, rng)
    part = space.narrowed(wish)
    found = [part.sample(rng) for _ in range(12)]
    if isinstance(space, Finite):
        assert list(part.points) == [p for p in space.points if fulfils(p, wish)]
    else:
        outsiders = [space.sample(rng) for _ in range(4)]
        found += [part.mutate(p, rng) for p in (*found[:4], *outsiders)]
        found += [part.cross(a, b, rng) for a, b in zip(found[:3], outsiders, strict=False)]
        assert isinstance(part, Vectorised) and part.dimension == space.dimension
        lower, upper = part.bounds
        vectors = [rng.uniform(lower, upper) for _ in range(4)] + list(rng.uniform(*space.bounds, (4, part.dimension)))
        found += [part.decode(x) for x in (*vectors, lower, upper)]
    for point in found:
        space.check(point)
        part.check(point)
        assert fulfils(point, wish), (point, wish)
    x = part.encode(found)
    assert np.array_equal(x, space.encode(found))
    if not isinstance(space, Finite):
        assert (lower - 1e-9 <= x).all() and (x <= upper + 1e-9).all()
        for point, row in zip(found, x, strict=True):
            assert fulfils(part.decode(row), {n: (v,) for n, v in point.items()}, 1e-6)
