"""The methods that the design benchmark compares: each a space, a strategy of matloop's, and its options."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absorbers.problem import ABSORPTION, BUDGET, FIELD, LENGTH, SIDE
from matloop.orchestrator.protocols import Space, Strategy, Surrogate
from matloop.orchestrator.strategies.design.ascent import GradientAscent
from matloop.orchestrator.strategies.design.image_model import ImageModel
from matloop.orchestrator.strategies.design.inverse_design import InverseDesign
from matloop.orchestrator.strategies.design.topology import TopologyOptimisation
from matloop.orchestrator.strategies.design.trust_region import TrustRegion
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.hedge import GPHedge
from matloop.orchestrator.strategies.random import Random
from matloop.search_spaces.density import Density
from matloop.search_spaces.latent import Latent

GAN = "grf32"
INITIAL = 16
SEARCH: dict[str, Any] = {"candidates": 128, "restarts": 2, "iterations": 15}
"""For the largest acquisition value, of those that climb latent vectors; half of the defaults."""

NETWORK = Path(__file__).parent / "evolved.json"
"""Network that `campaigns/quickstart.yaml` has evolved, as its study `search` found it."""


@dataclass(frozen=True)
class Method:
    """One.

    Attributes:
        generator: that renders its points; None for densities.
        make: space and strategy, from artifacts and a seed.
        limited: whether only structures like the data count.
        confirmed: whether its best are measured two orders higher.
    """

    generator: Any
    make: Callable[[Any, int], tuple[Space, Strategy]]
    limited: bool = True
    confirmed: bool = False


def _optuna(sampler: str, **options: Any) -> Callable[[Any, int], tuple[Space, Strategy]]:
    def make(store: Any, seed: int) -> tuple[Space, Strategy]:
        from matloop.orchestrator.strategies.optuna import OptunaSampler

        space = Latent(GAN)
        return space, OptunaSampler(space=space, objectives=(ABSORPTION,), sampler=sampler, options=options)

    return make


def _random(generator: Any) -> Callable[[Any, int], tuple[Space, Strategy]]:
    def make(store: Any, seed: int) -> tuple[Space, Strategy]:
        space = Latent(generator)
        return space, Random(space=space)

    return make


def _ascending(kind: Any, generator: Any, **options: Any) -> Callable[[Any, int], tuple[Space, Strategy]]:
    def make(store: Any, seed: int) -> tuple[Space, Strategy]:
        space = Latent(generator)
        return space, kind(space=space, objectives=(ABSORPTION,), artifacts=store, seed=seed, **options)

    return make


def _modelled(kind: Any, generator: Any, **options: Any) -> Callable[[Any, int], tuple[Space, Strategy]]:
    def make(store: Any, seed: int) -> tuple[Space, Strategy]:
        space = Latent(generator)
        return space, kind(space=space, objectives=(ABSORPTION,), seed=seed, initial=INITIAL, **options)

    return make


def _bayesian(surrogate: Callable[[Latent], Surrogate], **options: Any) -> Callable[[Any, int], tuple[Space, Strategy]]:
    def make(store: Any, seed: int) -> tuple[Space, Strategy]:
        space = Latent(GAN)
        return space, Bayesian(
            space=space, objectives=(ABSORPTION,), surrogate=surrogate(space), acquisition="log_ei", initial=INITIAL,
            explain=False, seed=seed, **options,
        )  # fmt: skip

    return make


def _process(space: Latent) -> Surrogate:
    from matloop.surrogates.gaussian_process.gp import GP

    return GP(space=space, draws=1)  # the most probable hyperparameters, as plain BoTorch takes


def _network(genome: bool) -> Callable[[Latent], Surrogate]:
    def surrogate(space: Latent) -> Surrogate:
        from matloop.surrogates.networks.dropout import MCDropout

        network = json.loads(NETWORK.read_text()) if genome else None
        return MCDropout(space=space, network=network, members=2, steps=160, samples=20, augment="square")

    return surrogate


def _hedge(store: Any, seed: int) -> tuple[Space, Strategy]:
    space = Latent(GAN)
    return space, GPHedge(
        space=space,
        objectives=(ABSORPTION,),
        surrogate=_process(space),
        initial=INITIAL,
        refit_every=3,
        seed=seed,
        **SEARCH,
    )


def _density(store: Any, seed: int) -> tuple[Space, Strategy]:
    space = Density(shape=[SIDE, SIDE], length=LENGTH)
    steps = int((BUDGET - 1) / 1.5)  # and the structure of two phases at the end
    return space, TopologyOptimisation(space=space, objectives=(ABSORPTION,), artifacts=store, steps=steps, seed=seed)


METHODS: dict[str, Method] = {
    "random": Method(FIELD, _random(FIELD)),
    "inverse_design": Method(FIELD, _ascending(InverseDesign, FIELD), confirmed=True),
    "gradient_noise": Method(FIELD, _ascending(GradientAscent, FIELD), confirmed=True),
    "density": Method(None, _density, limited=False),
    "tpe": Method(GAN, _optuna("TPESampler", multivariate=True)),
    "cma_es": Method(GAN, _optuna("CmaEsSampler")),
    "trust_region": Method(GAN, _modelled(TrustRegion, GAN, model="latent", candidates=128)),
    "log_ei": Method(GAN, _bayesian(_process, refit_every=3, **SEARCH)),
    "gp_hedge": Method(GAN, _hedge),
    "gradient_latent": Method(GAN, _ascending(GradientAscent, GAN), confirmed=True),
    "inverse_design_latent": Method(GAN, _ascending(InverseDesign, GAN), confirmed=True),
    "image_model": Method(FIELD, _modelled(ImageModel, FIELD)),
    "trust_region_image": Method(FIELD, _modelled(TrustRegion, FIELD, failures=6)),
    "random_latent": Method(GAN, _random(GAN)),
    "inverse_design_free": Method(FIELD, _ascending(InverseDesign, FIELD, like_data=None), limited=False),
    "evolved_network": Method(GAN, _bayesian(_network(True), refit_every=5, **SEARCH)),
    "fixed_network": Method(GAN, _bayesian(_network(False), refit_every=5, **SEARCH)),
}
"""In the order in which they are run; `inverse_design` is the one that is recommended."""

SLOW = ("evolved_network", "fixed_network")
"""Run only if they are named."""
