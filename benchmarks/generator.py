"""How well generators' microstructures match real random fields, beside a second set of real ones as the noise floor.

The trained generator (`gan`) and cut Gaussian fields by noise (`field`) against held-out periodic Gaussian fields cut
at zero, of the correlation length that the trained one has learned; then both at twice the latent grid, without
training. Of the trained one also what lies at the corners of its latent range, where searches like to go.

Run: python benchmarks/generator.py [--generator NAME_OR_FILE] [--n 2000] [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.examples import Fields
from matloop.surrogates.generator.interface import MicrostructureGenerator, phases
from matloop.surrogates.generator.quality import Quality, compare
from matloop.surrogates.generator.weights import header, load

MARKS: Mapping[str, tuple[str, str, str]] = {
    "covariance_error": ("covariance, relative RMS error", "{:.1%}", "≤ 10 %"),
    "s2_error": ("two-point correlation, relative RMS error", "{:.1%}", "≤ 2.5 %"),
    "lineal_path_error": ("lineal path of the worse phase, relative error", "{:.1%}", "≤ 5 %"),
    "nearest": ("distance to the nearest neighbour, of real", "{:.3f}", "≥ 0.95"),
    "speckle": ("speckle, of real", "{:.2f}", "0.9–1.1"),
    "volume_fraction_spread": ("spread of the volume fraction, of real", "{:.2f}", "0.9–1.1"),
}
"""What is reported: its label, its format, and what it should be."""

KINDS = ("gan", "corners", "field", "real")

Images = npt.NDArray[np.uint8]


def made(generator: MicrostructureGenerator, n: int, *, corners: bool = False) -> Images:
    """Microstructures (n, H, W) of latent vectors as they are drawn, or at corners of their range."""
    z = generator.sample(n, derive("benchmark latent"))
    return phases(generator, np.sign(z) if corners else z)


def judged(generator: Any, length: float, n: int) -> dict[str, Quality]:
    """Quality of each kind of structure at the size of one generator.

    Args:
        generator: how it is named, see `weights.load`.
        length: correlation length of the real fields, pixels.
        n: structures of each kind.

    Returns:
        By `KINDS`: the trained one, the same at corners, fields by noise, and a second set of real ones.
    """
    trained = load(generator)
    sides = (trained.shape[1], trained.shape[2])
    fields = Fields(length=length)
    held_out = fields.draw(n, sides, derive("benchmark fields", 0))
    kinds = {
        "gan": made(trained, n),
        "corners": made(trained, n, corners=True),
        "field": made(load({"kind": "field", "size": list(sides), "length": length}), n),
        "real": fields.draw(n, sides, derive("benchmark fields", 1)),
    }
    return {kind: compare(images, held_out) for kind, images in kinds.items()}


def figures(quality: Quality) -> dict[str, float]:
    """The marks, as numbers."""
    return {name: round(getattr(quality, name), 4) for name in MARKS}


def table(title: str, found: Mapping[str, Quality]) -> Table:
    """One column for each kind of structure."""
    shown = Table("", "wanted", "gan", "at corners", "field", "real again", title=title)
    for name, (label, form, wanted) in MARKS.items():
        shown.add_row(
            label, wanted, *(form.format(getattr(found[k], name)) for k in ("gan", "corners", "field", "real"))
        )
    return shown


def main() -> None:
    """Print two tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few structures; noise hides what the marks are about")
    parser.add_argument("--generator", default="grf64", help="name or file of the trained one")
    parser.add_argument("--n", type=int, default=2000, help="structures of each kind; half of it at twice the size")
    options = parser.parse_args()
    n = 100 if options.quick else options.n
    length = header(options.generator)["examples"].get("length")
    if length is None:
        raise SystemExit(f"expected a generator trained on Gaussian fields, got {options.generator}: of micrographs")
    sides = load(options.generator).shape[1:]
    twice = {"kind": "gan", "file": options.generator, "size": [2 * side for side in sides]}
    console = Console(width=120)
    single, double = judged(options.generator, length, n), judged(twice, length, n // 2)
    for count, factor, found in ((n, 1, single), (n // 2, 2, double)):
        size = " x ".join(str(factor * side) for side in sides)
        console.print(table(f"{options.generator}: {count} of {size}, correlation length {length:g} pixels", found))
    prefix = "quick_" if options.quick else ""
    result: dict[str, Any] = {
        f"{prefix}{kind}": figures(single[kind]) | {"doubled": figures(double[kind])}
        for kind in ("gan", "field", "real")
    }
    result[f"{prefix}gan"]["corners"] = figures(single["corners"]) | {"doubled": figures(double["corners"])}
    print(json.dumps(result | {f"{prefix}n": n, f"{prefix}size": list(sides)}))


if __name__ == "__main__":
    main()
