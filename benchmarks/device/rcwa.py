"""Row: microstructures a second through the optics driver's solver, at a low and a high Fourier order."""

from __future__ import annotations

from collections.abc import Iterator

from device.row import Figure, Row, Setting
from device.timing import finish

SIDE, BATCH = 32, 16


def measure(setting: Setting) -> Iterator[Figure]:
    """A batch is solved one after another (torcwa takes one at a time), on the CPU by one thread."""
    import time

    import numpy as np

    from matloop.drivers.optics import Optics
    from matloop.orchestrator.randomness import derive
    from matloop.surrogates.generator.fields import two_phase_fields

    batch = two_phase_fields(2 if setting.quick else BATCH, (SIDE, SIDE), 4.0, derive("rcwa"))
    for order in (1,) if setting.quick else (3, 7):
        absorbed = {}
        for device in setting.compared:
            driver, found = Optics(order=order, device=device), []
            seconds = 0.0 if setting.quick else 10.0
            driver.reflected_transmitted(batch[0].astype(np.uint8), 500.0, 1.46 + 0j, 4.3 + 0.07j)  # warms up
            finish(device)
            began = time.perf_counter()
            for structure in batch:
                parts = driver.reflected_transmitted(structure.astype(np.uint8), 500.0, 1.46 + 0j, 4.3 + 0.07j)
                found.append(1 - sum(parts))
                if time.perf_counter() - began > seconds and not setting.quick:
                    break
            rate = len(found) / (time.perf_counter() - began)
            key = setting.key(f"rcwa_order_{order}_structures_per_s", device)
            yield Figure(key, rate, "structures/s", f"{len(found)} of {SIDE} x {SIDE} pixels")
            absorbed[device] = np.array(found)
        if len(absorbed) == 2:
            both = min(map(len, absorbed.values()))
            difference = np.abs(absorbed["cuda"][:both] - absorbed["cpu"][:both]).max()
            yield Figure(f"rcwa_order_{order}_difference", float(difference), "of absorptance", "GPU against CPU")


ROW = Row("RCWA of microstructures", 60, ("torch", "torcwa", "safetensors"), measure)
