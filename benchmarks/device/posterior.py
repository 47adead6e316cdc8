"""Row: the posterior of dropout networks at q points with s masks, on vectors and on rendered microstructures."""

from __future__ import annotations

from collections.abc import Iterator

from device.row import Figure, Row, Setting
from device.timing import per_second

DIMENSIONS, ROWS, MASKS, Q = 8, 400, 64, 8
BATCHES = 512  # of q points in one call


def measure(setting: Setting) -> Iterator[Figure]:
    """Fit on the device, then evaluate mean and variance there and on the CPU, and compare what they say."""
    import torch

    from matloop.orchestrator.randomness import derive
    from matloop.search_spaces.latent import Latent
    from matloop.surrogates.networks.dropout import MCDropout

    batches, masks, rows = (2, 6, 30) if setting.quick else (BATCHES, MASKS, ROWS)
    latent = Latent()
    for name, space, dimensions in (("vectors", None, DIMENSIONS), ("images", latent, latent.dimension)):
        x = torch.as_tensor(derive("posterior", name).uniform(-1, 1, (rows, dimensions)))
        y = torch.sin(3 * x).sum(dim=1, keepdim=True)
        steps = 5 if setting.quick else None
        model = MCDropout(space=space, rate=0.1, samples=masks, steps=steps, device=setting.device).fit(x, y, 0)
        shape = (batches if space is None else max(batches // 8, 1), Q, dimensions)
        points = torch.as_tensor(derive("posterior points", name).uniform(-1, 1, shape))
        means = {}
        for device in setting.compared:
            there, asked = model.to(device), points.to(device)

            def ask(there=there, asked=asked):
                with torch.no_grad():
                    posterior = there.posterior(asked)
                    return posterior.mean, posterior.variance

            seconds = 0.0 if setting.quick else 4.0
            rate = per_second(ask, device, seconds) * shape[0] * Q
            yield Figure(
                setting.key(f"posterior_{name}_points_per_s", device), rate, "points/s", f"q {Q}, {masks} masks"
            )
            means[device] = ask()[0].cpu()
        if len(means) == 2:
            difference = (means["cuda"] - means["cpu"]).abs().max() / y.std()
            yield Figure(f"posterior_{name}_difference", float(difference), "standard deviations", "GPU against CPU")


ROW = Row("posterior of dropout networks", 50, ("torch", "botorch", "safetensors"), measure)
