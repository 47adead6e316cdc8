"""Row: 16-bit against 32-bit training, in epochs a second and in the error that is left at the end."""

from __future__ import annotations

from collections.abc import Iterator

from device.row import Figure, Row, Setting


def measure(setting: Setting) -> Iterator[Figure]:
    """Train a small and a wide network from the same weights in both arithmetics; the CPU knows only one."""
    from device import problems
    from matloop.drivers.training.driver import Training

    images, side, epochs = (50, 16, 1) if setting.quick else (problems.IMAGES, problems.SIDE, 20)
    data = problems.interfaces(setting.folder / "interfaces.npz", images, side)
    for size, genome in (("small", problems.small(side)), ("wide", problems.wide(side))):
        for precision in ("float32", "mixed"):
            common = {"data": data, "device": setting.device, "precision": precision}
            Training(epochs=1, **common)(problems.trial(genome))  # the first epoch chooses kernels
            found = Training(epochs=epochs, **common)(problems.trial(genome))
            rate = found.info["epochs"] / found.info["seconds"]
            error = found.values["validation_mae"] / found.info["baseline_mae"]
            yield Figure(f"epochs_per_s_{size}_{precision}", rate, "epochs/s")
            yield Figure(f"error_{size}_{precision}", error, "of the mean's error")


ROW = Row("mixed against full precision", 60, ("torch", "safetensors"), measure)
