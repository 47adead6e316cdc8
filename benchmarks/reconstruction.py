"""Reconstruction of micrographs: errors of correlations and lineal paths, by method, at equal processor time.

The micrographs are taken for unit cells, since annealing needs it. `descriptors` is what `reconstruct` does, with its
usual settings; `annealing` (Yeong-Torquato, two phases) gets as much processor time, seed by seed; `gram` are Gram
matrices of random filters, `vgg` those of VGG-19 where its weights are given. `lineal_path_error` is that of the worse
phase.

Run: python benchmarks/reconstruction.py --data DIR [--seeds 3] [--vgg FILE] [--results FILE] [--quick]
DIR holds label maps of 64 x 64 as NAME_resized_s.npy, as MCRpy has them, or a folder `microstructures` with them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from matloop.drivers.reconstruction import example
from matloop.surrogates.microstructure import Settings, reconstruct
from matloop.surrogates.microstructure.phases import label_map

METHODS = ("descriptors", "annealing", "gram", "vgg")
SHORT = 200
"""Hundreds of exchanges of the run that tells how fast annealing is."""

FIGURES = ("covariance_error", "lineal_path_error", "seconds")

Row = dict[str, float]


def measured(micrograph: np.ndarray, seed: int, method: str, settings: Settings) -> Row:
    """Errors and processor seconds of one reconstruction."""
    start = time.process_time()
    made = reconstruct(micrograph, periodic=True, method=method, seed=seed, settings=settings)
    seconds = time.process_time() - start
    return {
        "covariance_error": made.agreement.covariance_error,
        "lineal_path_error": made.agreement.lineal_path_error,
        "seconds": seconds,
        "likeness": made.likeness,
        "speckle": made.agreement.speckle,
    }


def annealed(micrograph: np.ndarray, seed: int, seconds: float) -> Row:
    """Annealing for so many processor seconds: as many exchanges as a short run says."""
    short = measured(micrograph, seed, "annealing", Settings(steps=SHORT, starts=1))
    steps = max(int(SHORT * seconds / short["seconds"]), 1)
    return measured(micrograph, seed, "annealing", Settings(steps=steps, starts=1))


def materials(data: Path | None) -> dict[str, np.ndarray]:
    """Label maps by name."""
    if data is None:
        return {"example": example()}
    folder = data / "microstructures" if (data / "microstructures").is_dir() else data
    found = {}
    for path in sorted(folder.glob("*.npy")):
        name = re.fullmatch(r"(.+)_resized_s|pymks_ms_64x64_1", path.stem)
        if name:
            found[name[1] or "synthetic"] = label_map(np.load(path))
    if not found:
        raise SystemExit(f"expected NAME_resized_s.npy in {folder}, got none")
    return found


def applicable(method: str, material: np.ndarray, vgg: Path | None) -> bool:
    """Annealing and VGG take two phases; VGG needs its weights."""
    return method in ("descriptors", "gram") or (material.max() == 1 and (method == "annealing" or vgg is not None))


def row(material: np.ndarray, method: str, seed: int, before: Row | None, vgg: Path | None, quick: bool) -> Row:
    """One method on one material with one seed; `before` is that of `descriptors`."""
    if method == "descriptors":
        return measured(material, seed, method, Settings(steps=300, starts=1) if quick else Settings())
    if method == "annealing":
        assert before is not None
        return annealed(material, seed, before["seconds"])
    return measured(material, seed, method, Settings(steps=5 if quick else None, weights=vgg))


def main() -> None:
    """Print a table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    usual = os.environ.get("MATLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(usual) if usual else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--vgg", type=Path, help="weights of torchvision's vgg19")
    parser.add_argument("--results", type=Path, help="rows that are done are kept here, and not done again")
    parser.add_argument("--quick", action="store_true", help="one seed of a shorter run on an example of 32 x 32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.data, options.seeds = None, 1
    rows: dict[str, Row] = {}
    if options.results and options.results.exists():
        rows = json.loads(options.results.read_text(encoding="utf-8"))
    found = materials(options.data)
    if options.quick:
        found = {"example_32": example()[:32, :32]}
    for method, name, seed in product(METHODS, found, range(options.seeds)):
        key, material = f"{name}/{method}/{seed}", found[name]
        if key in rows or not applicable(method, material, options.vgg):
            continue
        before = rows.get(f"{name}/descriptors/{seed}")
        rows[key] = row(material, method, seed, before, options.vgg, options.quick)
        if options.results:
            part = options.results.with_name(f"{options.results.name}.part")
            part.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            part.replace(options.results)  # whole, whenever it is killed
    show(rows, [*found], options.seeds)


def show(rows: dict[str, Row], names: list[str], seeds: int) -> None:
    """Means over seeds, with standard deviations, as a table and as JSON."""
    table = Table(title=f"Mean of {seeds} seeds ± standard deviation; errors in %", title_justify="left")
    for column in ("material", "method", "covariance", "lineal path", "seconds", "likeness", "speckle"):
        table.add_column(column, justify="left" if column in ("material", "method") else "right")
    summary: dict[str, dict[str, Any]] = {}
    for name in names:
        for method in METHODS:
            of = [rows[key] for seed in range(seeds) if (key := f"{name}/{method}/{seed}") in rows]
            if not of:
                continue
            mean, spread = ({f: float(by([r[f] for r in of])) for f in of[0]} for by in (np.mean, np.std))
            errors = [f"{100 * mean[f]:.1f} ± {100 * spread[f]:.1f}" for f in FIGURES[:2]]
            table.add_row(
                name, method, *errors, f"{mean['seconds']:.1f}", f"{mean['likeness']:.2f}", f"{mean['speckle']:.1f}"
            )
            figures = {f: round(mean[f], 4) for f in FIGURES}
            summary.setdefault(name, {})[method] = figures | {"spread": {f: round(spread[f], 4) for f in FIGURES}}
    Console(width=120).print(table)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
