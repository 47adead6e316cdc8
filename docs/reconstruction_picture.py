"""Draw docs/pictures/reconstruction.png: micrographs, and what methods make of them in about equal time.

Run: python docs/reconstruction_picture.py --data DIR
DIR as for benchmarks/reconstruction.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from matloop.surrogates.microstructure import reconstruct
from matloop.surrogates.microstructure.phases import label_map

SHOWN = ("copolymer", "sandstone", "ceramics", "composite")
COLUMNS = {
    "descriptors": ("descriptors", 0),
    "descriptors, another seed": ("descriptors", 1),
    "annealing": ("annealing", 0),
    "Gram matrices": ("gram", 0),
}


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures" / "reconstruction.png")
    options = parser.parse_args()
    folder = options.data / "microstructures" if (options.data / "microstructures").is_dir() else options.data
    figure, axes = plt.subplots(len(SHOWN), 1 + len(COLUMNS), figsize=(8.4, 7.2), layout="constrained")
    for row, name in zip(axes, SHOWN, strict=True):
        micrograph = label_map(np.load(folder / f"{name}_resized_s.npy"))
        draw(row[0], micrograph, micrograph, f"{name}")
        for axis, (title, (method, seed)) in zip(row[1:], COLUMNS.items(), strict=True):
            if method == "annealing" and micrograph.max() > 1:
                axis.axis("off")
                continue
            made = reconstruct(micrograph, periodic=True, method=method, seed=seed)
            errors = made.agreement
            draw(
                axis,
                made.labels,
                micrograph,
                f"{title}\n{100 * errors.covariance_error:.0f} % / {100 * errors.lineal_path_error:.0f} %",
            )
    figure.savefig(options.out, dpi=110)


def draw(axis: plt.Axes, labels: np.ndarray, micrograph: np.ndarray, title: str) -> None:
    """One structure; the phases have the greys of the micrograph's."""
    axis.imshow(labels, cmap="gray_r", vmin=0, vmax=micrograph.max(), interpolation="nearest")
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])


if __name__ == "__main__":
    main()
