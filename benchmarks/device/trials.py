"""Row: trials an hour with one, two and four at once on a GPU, by the local executor and the training driver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait

from device.row import Figure, Row, Setting

AT_ONCE = (1, 2, 4)
TRIALS = 12  # so that every one of AT_ONCE divides it


def measure(setting: Setting) -> Iterator[Figure]:
    """Train the same networks with each number of trials at once; children are warm before the clock starts."""
    from device import problems

    images, side = (50, 16) if setting.quick else (problems.IMAGES, problems.SIDE)
    data = problems.interfaces(setting.folder / "interfaces.npz", images, side)
    for number in (2,) if setting.quick else AT_ONCE:
        key = f"trials_per_hour_{number}"
        try:
            rate = per_hour(setting, data, number, 2 if setting.quick else TRIALS)
        except TimeoutError:
            yield Figure(key, None, note="no time was left")
        else:
            yield Figure(key, rate, "trials/h", f"{number} at once on one {setting.device}")


def per_hour(setting: Setting, data, number: int, trials: int) -> float:
    """Trials an hour.

    Raises:
        TimeoutError: the row's time ended first.
    """
    from device import problems
    from matloop.drivers.training.driver import Training
    from matloop.hpc.local import Local

    side = 16 if setting.quick else problems.SIDE
    options = {"data": data, "device": setting.device, "precision": "auto"}
    first = Training(epochs=1, **options)
    epochs = 1 if setting.quick else problems.EPOCHS
    driver = Training(epochs=epochs, **options)
    with Local(slots=number, trials_per_gpu=number if setting.device == "cuda" else 0, threads="auto") as executor:

        def all_of(driver: Training, count: int) -> None:
            futures = [executor.submit(driver, problems.trial(problems.small(side), seed)) for seed in range(count)]
            if wait(futures, timeout=max(setting.left_s(), 0.0)).not_done:
                raise TimeoutError
            for future in futures:
                future.result()

        all_of(first, number)
        began = time.perf_counter()
        all_of(driver, trials)
        return 3600 * trials / (time.perf_counter() - began)


ROW = Row("trials at once on one GPU", 140, ("torch", "safetensors", "psutil"), measure)
