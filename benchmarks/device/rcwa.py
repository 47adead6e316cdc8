"""Row: microstructures a second through the optics driver's solver, at a low and a high Fourier order."""

from __future__ import annotations

from collections.abc import Iterator

from device.row import Figure, Row, Setting
from device.timing import finish

SIDE, BATCH, TOGETHER = 32, 16, 4


def measure(setting: Setting) -> Iterator[Figure]:
    """A few at a time, as a strategy with a batch would have them; on the CPU by as many threads as torch takes."""
    import time

    import torch

    from matloop.drivers.optics.driver import Optics
    from matloop.drivers.optics.rcwa import Film
    from matloop.orchestrator.randomness import derive
    from matloop.surrogates.generator.fields import two_phase_fields

    fields = two_phase_fields(2 if setting.quick else BATCH, (SIDE, SIDE), 4.0, derive("rcwa"))
    batch = torch.tensor(fields, dtype=torch.float64)
    for order in (1,) if setting.quick else (3, 7):
        absorbed = {}
        for device in setting.compared:
            solver, found = Film(Optics(device=device).setup(order)), []
            seconds = 0.0 if setting.quick else 10.0
            with torch.inference_mode():
                solver(batch[:1])  # warms up
                finish(device)
                began = time.perf_counter()
                for part in batch.split(TOGETHER):
                    found.append(solver(part).absorbed.mean((-2, -1)).cpu())
                    if time.perf_counter() - began > seconds and not setting.quick:
                        break
            absorbed[device] = torch.cat(found)
            rate = len(absorbed[device]) / (time.perf_counter() - began)
            key = setting.key(f"rcwa_order_{order}_structures_per_s", device)
            yield Figure(key, rate, "structures/s", f"{len(absorbed[device])} of {SIDE} x {SIDE} pixels")
        if len(absorbed) == 2:
            both = min(map(len, absorbed.values()))
            difference = (absorbed["cuda"][:both] - absorbed["cpu"][:both]).abs().max()
            yield Figure(f"rcwa_order_{order}_difference", float(difference), "of absorptance", "GPU against CPU")


ROW = Row("RCWA of microstructures", 60, ("torch", "safetensors"), measure)
