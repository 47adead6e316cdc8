"""Command line that trains a generator: `python -m matloop.surrogates.generator.train --out FILE`.

Run it again with the same options after a kill, and it goes on where it stopped. Beside FILE.safetensors, which always
holds the best generator so far, it keeps FILE.png (samples of it) and FILE.training (removed at the end).
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.examples import Examples, Fields, Micrographs
from matloop.surrogates.generator.game import Recipe
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.training import CHECK_EVERY, EXAMINED, Checkpoint, train
from matloop.surrogates.generator.weights import header, save


def main(arguments: list[str] | None = None) -> None:
    """Parse, train, and say what came of it; a wrong option ends with status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.out.suffix != ".safetensors":
        parser.error(f"expected --out to end in .safetensors, got {options.out}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        recipe = Recipe(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Recipe)})
        examples = _examples(options)
        _train(recipe, examples, options)
    except ConfigError as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m matloop.surrogates.generator.train",
        description="Train a generator of microstructures; the same command goes on after a kill.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    learned = parser.add_argument_group("what to learn from: Gaussian fields, or micrographs")
    learned.add_argument("--length", type=float, help="correlation length of the fields, pixels; usually 4")
    learned.add_argument("--volume-fraction", type=float, help="of the fields' inclusion; usually 0.5")
    learned.add_argument("--micrographs", type=Path, help="picture or label map (.npy), or a folder of them")
    learned.add_argument("--phase", type=int, help="label of the inclusion; the highest if left out")
    learned.add_argument("--threshold", type=float, help="grey value above which is the inclusion")
    learned.add_argument(
        "--mirrors", action=argparse.BooleanOptionalAction, default=True, help="mirror images are as likely"
    )
    learned.add_argument("--turns", action="store_true", help="quarter turns are as likely")
    trained = parser.add_argument_group("training")
    for field in dataclasses.fields(Recipe):
        many = isinstance(field.default, tuple)
        kind = int if many else type(field.default)
        trained.add_argument(
            f"--{field.name.replace('_', '-')}", type=kind, default=field.default, nargs="+" if many else None
        )
    trained.add_argument("--check-every", type=int, default=CHECK_EVERY, help="steps between checkpoints")
    trained.add_argument("--examined", type=int, default=EXAMINED, help="structures that a checkpoint is judged by")
    trained.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser


def _examples(options: argparse.Namespace) -> Examples:
    of_fields = {name: value for name in ("length", "volume_fraction") if (value := getattr(options, name)) is not None}
    if options.micrographs is None:
        if options.phase is not None or options.threshold is not None or options.turns or not options.mirrors:
            raise ConfigError("expected --micrographs along with options of theirs, got none")
        return Fields(**of_fields)
    if of_fields:
        raise ConfigError("expected micrographs, or fields with a length and a volume fraction, got options of both")
    return Micrographs.read(
        options.micrographs,
        phase=options.phase,
        threshold=options.threshold,
        mirrors=options.mirrors,
        turns=options.turns,
    )


def _train(recipe: Recipe, examples: Examples, options: argparse.Namespace) -> None:
    out: Path = options.out
    state, console = out.with_suffix(".training"), Console(soft_wrap=True)
    if out.exists() and not state.exists():
        raise ConfigError(f"expected --out to be a new file, got {out}, which is finished; remove it to train it anew")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=recipe.steps)

        def watch(checkpoint: Checkpoint, better: bool) -> None:
            progress.update(task, completed=checkpoint.step)
            console.print(_line(checkpoint), style="bold" if better else "")
            if better:  # saved at once, so that stopping early keeps the best
                save(checkpoint.generator, out, _notes(recipe, examples, checkpoint, options.device))
                picture(checkpoint, examples, out.with_suffix(".png"))

        train(
            recipe,
            examples,
            watch,
            state=state,
            check_every=options.check_every,
            examined=options.examined,
            device=options.device,
        )
    state.unlink(missing_ok=True)
    if not out.exists():
        raise ConfigError("expected images that can be compared, got none; lower --learning-rate", at="learning_rate")
    notes = header(out)
    console.print(f"{out}: step {notes['step']} was best, score {notes['score']}; samples in {out.with_suffix('.png')}")


def _line(checkpoint: Checkpoint) -> str:
    parts = [f"step {checkpoint.step}, score {checkpoint.score:.3f}"]
    for place, quality in checkpoint.qualities.items():
        parts.append(
            f"{place}: covariance {quality.covariance_error:.1%}, lineal path {quality.lineal_path_error:.1%}, nearest "
            f"{quality.nearest:.2f}, speckle {quality.speckle:.2f}, spread {quality.volume_fraction_spread:.2f}"
        )
    return "; ".join(parts)


def _notes(recipe: Recipe, examples: Examples, checkpoint: Checkpoint, device: str) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "examples": dict(examples.notes),
        "step": checkpoint.step,
        "score": round(checkpoint.score, 4),
        "quality": {
            place: {name: round(value, 4) for name, value in dataclasses.asdict(quality).items()}
            for place, quality in checkpoint.qualities.items()
        },
        "device": device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def picture(checkpoint: Checkpoint, examples: Examples, path: Path, *, n: int = 8) -> None:
    """Save n real structures above n generated ones, and n at corners of the latent range below, as a grey PNG."""
    from matplotlib.image import imsave

    generator, rng = checkpoint.generator, derive("samples for people")
    z = generator.sample(n, rng)
    height, width = generator.architecture.size
    rows = [examples.draw(n, (height, width), rng), phases(generator, z), phases(generator, np.sign(z))]
    framed = [[np.pad(image * 255, 2, constant_values=128) for image in row] for row in rows]
    imsave(path, np.kron(np.block(framed), np.ones((3, 3))), cmap="gray", vmin=0, vmax=255)


if __name__ == "__main__":
    main()
