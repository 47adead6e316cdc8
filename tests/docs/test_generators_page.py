"""The page on generators names every option there is; its campaign is valid, its Python and its command work."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.surrogates.generator import train, weights
from matloop.surrogates.generator.gaussian_field import GaussianField

PAGE = (Path(__file__).parents[2] / "docs" / "generators.md").read_text(encoding="utf-8")


def shown(language: str) -> str:
    """The one block in that language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_options_are_complete() -> None:
    field, gan = (
        re.findall(r"^\| `(\w+)` \|", part.split("\n\n")[0], re.MULTILINE)
        for part in re.split(r"^\| option of `\w+` \|", PAGE, flags=re.MULTILINE)[1:]
    )
    assert field == [*inspect.signature(GaussianField).parameters]
    assert gan == ["file", "size"]
    named = {
        option for row in re.findall(r"^\| (`--.*?) \|", PAGE, re.MULTILINE) for option in re.findall(r"--[\w-]+", row)
    }
    assert named <= set(train._parser()._option_string_actions)


def test_the_campaign_is_valid(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(shown("yaml"))
    studies, _ = validate(load(tmp_path / "c.yaml"))
    assert [study.space.dimension for study in studies] == [64, 1024]  # type: ignore[attr-defined]


def test_the_python_works(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(shown("python"), names)
    assert names["images"].shape == (8, 1, 64, 64) and names["z"].grad.abs().max() > 0  # type: ignore[attr-defined]
    assert "(2, 4096)" in capsys.readouterr().out


def test_the_command_trains_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Path("micrographs").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (36, 40), dtype=np.uint8)
    Image.fromarray(picture).save("micrographs/a.png")
    words = shlex.split(shown("sh"))
    assert words[:3] == ["python", "-m", train.__spec__.name]
    quick = ["--steps", "2", "--check-every", "2", "--examined", "8", "--batch", "4", "--widths", "8", "6", "4"]
    train.main([*words[3:], *quick])
    assert weights.load("foam.safetensors").card["examples"]["names"] == ["a.png"]
    assert sorted(p.name for p in Path().glob("foam*")) == ["foam.png", "foam.safetensors"]
