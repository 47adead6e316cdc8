"""A driver that would render other structures than its space stands for is refused before anything is measured."""

from pathlib import Path

import pytest

from matloop.orchestrator.composition.build import check
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError

FIELD = "{kind: field, size: 32, length: 4}"
CAMPAIGN = """name: c
studies:
  s:
    space: {{kind: latent, generator: {space}}}
    driver: {driver}
    strategy: random
    objectives: {{{objective}: maximise}}
    budget: {{trials: 1}}
"""
DRIVERS = {
    "{{kind: optics{own}}}": "absorption",
    "{{kind: elasticity{own}}}": "bulk_modulus",
    "{{kind: morphology{own}}}": "volume_fraction",
    "{{kind: several, drivers: {{light: {{kind: optics{own}}}}}}}": "absorption",
    "{{kind: robust, error_pixels: 1, driver: {{kind: optics{own}}}}}": "absorption",
}


def checked(folder: Path, space: str, driver: str, own: str) -> None:
    text = CAMPAIGN.format(space=space, driver=driver.format(own=own), objective=DRIVERS[driver])
    (folder / "c.yaml").write_text(text)
    check(load(folder / "c.yaml"))


@pytest.mark.parametrize("driver", DRIVERS)
def test_another_one_is_refused_and_the_same_one_in_other_words_is_not(tmp_path: Path, driver: str) -> None:
    """One of as many latent numbers would be measured without a word: 32 x 32 of noise, or 128 x 128 by the network."""
    for own in ("", ", generator: grf64", f", generator: {FIELD.replace('4', '5')}"):
        with pytest.raises(ConfigError, match=r"expected the generator of the space, .*; give both the same") as error:
            checked(tmp_path, FIELD, driver, own)
        assert error.value.problems[0].place[:3] == ("studies", "s", "driver")
    checked(tmp_path, FIELD, driver, f", generator: {FIELD}")
    checked(tmp_path, "grf64", driver, ", generator: {kind: gan, file: grf32, size: 64}")
