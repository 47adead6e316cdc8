"""How well a generator's microstructures match real random fields, beside a second set of real ones as the noise floor.

Run: python benchmarks/generator.py [--quick] [--generator NAME_OR_FILE]
"""

from __future__ import annotations

import argparse
import json

from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.quality import compare
from matloop.surrogates.generator.weights import header, load


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 fields instead of 5,000")
    parser.add_argument("--generator", default="grf32")
    options = parser.parse_args()
    n = 1000 if options.quick else 5000
    generator = load(options.generator)
    shape = (generator.shape[1], generator.shape[2])
    length = header(options.generator)["recipe"]["length"]

    z = generator.sample(n, derive("benchmark latent"))
    held_out, second = (two_phase_fields(n, shape, length, derive("benchmark fields", i)) for i in range(2))
    made, noise = compare(phases(generator, z), held_out), compare(second, held_out)

    print(f"{options.generator}: {n} fields of {shape[0]} x {shape[1]}, correlation length {length} pixels\n")
    print(f"{'':38}{'generated':>12}{'real again':>12}")
    rows = {
        "two-point correlation, relative RMS": "s2_error",
        "  without its mean (stricter)": "covariance_error",
        "mean distance, relative to real": "diversity",
        "nearest neighbour, relative to real": "nearest",
        "speckle, relative to real": "speckle",
        "volume fraction, mean": "volume_fraction_mean",
        "volume fraction, standard deviation": "volume_fraction_std",
    }
    for label, name in rows.items():
        print(f"{label:38}{getattr(made, name):12.4f}{getattr(noise, name):12.4f}")
    print(f"{'  of the held-out fields':38}{made.volume_fraction_std_real:12.4f}\n")
    figures = {name: getattr(made, name) for name in rows.values()}
    figures |= {
        "s2_error_real": noise.s2_error,
        "nearest_real": noise.nearest,
        "volume_fraction_std_real": made.volume_fraction_std_real,
        "n": n,
    }
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
