"""`reference:` of a search: a study of its own behind all others, which fails alone and goes on with its search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matloop import open_campaign
from matloop.orchestrator.composition.build import builder, plans, validate
from matloop.orchestrator.composition.config import Config, load
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.export import bundles
from matloop.orchestrator.export.networks import export, leading
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.references import WINNER
from matloop.orchestrator.report import write
from matloop.orchestrator.trial import seconds

TEXT = """\
name: c
executor: serial
studies:
  search:
    space: {kind: dense_network, input: [3], max_parameters: 2000}
    driver: {kind: training, data: data.npz, epochs: 1}
    strategy: random
    objectives: {validation_rmse: minimise, parameters: minimise}
    budget: {trials: 2}
    reference: REFERENCE
  later:
    space: {from: search}
    driver: {from: search}
    strategy: random
    budget: {trials: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=x[:, 0])
    return tmp_path


def file(folder: Path, reference: str, **replaced: str) -> Path:
    text = TEXT.replace("REFERENCE", reference)
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


def trials(folder: Path) -> list[tuple[str, str]]:
    history = read(folder / "runs/c/ledger.db")
    return [(t.study, str(t.point.get("reference", ""))) for t in history.trials]


def test_a_study_of_its_own_stands_behind_all_others(folder: Path) -> None:
    config = load(file(folder, "[ridge, {kind: residual, width: 8}]"))
    assert list(config.studies) == ["search", "later", "search-references"]
    assert [plan.aside for plan in plans(config)] == [False, False, True]
    studies, resolved = validate(config)
    assert [o.name for o in studies[2].objectives] == ["validation_rmse"]  # what an estimator has too
    recorded = Config.from_record(resolved, folder / "c.yaml")
    assert list(recorded.studies) == list(config.studies)


@pytest.mark.parametrize(
    ("text", "seeds", "tuned"),
    [("ridge", 3, True), ("[ridge]", 3, True), ("{kinds: [ridge], seeds: 5, tuned: false}", 5, False)],
)
def test_forms_of_the_option(text: str, seeds: int, tuned: bool, folder: Path) -> None:
    found = load(file(folder, text)).studies["search-references"]
    assert (found.space["kinds"], found.space["seeds"], found.strategy["tuned"]) == (["ridge"], seeds, tuned)


def test_they_may_have_a_budget_of_their_own(folder: Path) -> None:
    path = file(folder, "{kinds: [ridge], seeds: 1, tuned: false, budget: {steps: 7}}")
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        assert campaign.history.of("search")[0].info["epochs"] == 1
        assert campaign.history.of("search-references")[1].info["steps"] == 7  # of the winner
    path.write_text(path.read_text().replace("steps: 7", "steps: 9"))  # others are no answer to that
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        assert [t.info.get("steps") for t in campaign.history.of("search-references")] == [None, 7, None, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kinds: [ridge], budget: {hours: 1}}", "studies.search.reference: expected budget: seconds, steps"),
        ("[rige]", "c.yaml:10:16: studies.search.reference: unknown reference 'rige'; did you mean 'ridge'? accepted"),
        (
            "{kinds: [ridge], seed: 3}",
            "c.yaml:10:33: studies.search.reference.seed: unknown key; did you mean 'seeds'?",
        ),
    ],
)
def test_what_is_wrong_is_said_where_the_option_stands(text: str, message: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(load(file(folder, text)))
    assert message in str(caught.value)


def test_what_does_not_suit_the_data_is_refused_before_anything_runs(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(load(file(folder, "[ridge, unet, logistic]")))
    lines = str(caught.value).splitlines()
    assert [line.partition("reference: ")[2].partition(":")[0] for line in lines] == ["unet", "logistic"]
    assert all("c.yaml:10:16: studies.search.reference" in line for line in lines)


def test_missing_data_are_said_once(folder: Path) -> None:
    (folder / "data.npz").unlink()
    with pytest.raises(ConfigError) as caught:
        validate(load(file(folder, "[ridge]")))
    assert len(str(caught.value).splitlines()) == 1


def test_only_what_trains_networks_has_references(folder: Path) -> None:
    (folder / "m.py").write_text("def f(point):\n    return 1.0\n")
    path = file(folder, "[ridge]")
    path.write_text(
        path.read_text().replace("{kind: training, data: data.npz, epochs: 1}", "{kind: python, path: 'm.py:f'}")
    )
    with pytest.raises(
        ConfigError, match=r"c.yaml:10:16: studies.search.reference: expected the driver training.*remove `reference`"
    ):
        validate(load(path))


def test_a_study_of_that_name_is_in_the_way(folder: Path) -> None:
    with pytest.raises(ConfigError, match="rename this study"):
        load(file(folder, "[ridge]", later="search-references"))


def test_all_is_on_record_and_the_search_goes_on_afterwards(folder: Path) -> None:
    path = file(folder, "{kinds: [ridge, no_luck:Net], seeds: 2}")
    (folder / "no_luck.py").write_text(
        "class Net:\n    def fit(self, x, y):\n        raise RuntimeError('no luck')\n"
        "    def predict(self, x):\n        pass\n"
    )
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        history = campaign.history
    assert trials(folder)[:3] == [("search", ""), ("search", ""), ("later", "")]
    of_references = history.of("search-references")
    assert [t.point["reference"] for t in of_references] == ["ridge", "no_luck:Net", WINNER] * 2
    assert [t.values is None for t in of_references] == [False, True, False] * 2
    assert of_references[0].artifacts["test_predictions"] and of_references[0].values["test_rmse"] > 0
    assert all(seconds(t) > 0 for t in of_references) and len({t.seed for t in of_references}) == 6

    path.write_text(path.read_text().replace("trials: 1}", "trials: 2}"))  # of the study before them
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        assert len(campaign.history.of("later")) == 2
        assert len(campaign.history.of("search-references")) == 6


def test_references_come_and_go_without_acceptance(folder: Path) -> None:
    path = file(folder, "{kinds: [ridge], seeds: 1, tuned: false}")
    plain = path.read_text()
    path.write_text("\n".join(line for line in plain.splitlines() if "reference" not in line))
    for text in (path.read_text(), plain, plain.replace("[ridge]", "[ridge, perceptron]")):
        path.write_text(text)
        with open_campaign(path) as campaign:
            assert campaign.run() == "finished"
    assert [name for study, name in trials(folder) if study == "search-references"] == ["ridge", WINNER, "perceptron"]


UNLUCKY = """
from torch import nn

class net(nn.Module):
    def __init__(self, input, outputs):
        super().__init__()
        self.layer = nn.Linear(input[0], outputs)

    def forward(self, x):
        if len(x) > 2:  # it is looked at with two rows beforehand
            raise RuntimeError("no luck")
        return self.layer(x)
"""


def test_references_that_all_fail_end_nothing_else(folder: Path) -> None:
    (folder / "no_luck_either.py").write_text(UNLUCKY)
    path = file(folder, "{kinds: ['no_luck_either:net'], seeds: 1}")
    path.write_text(path.read_text() + "    reference: {kinds: [ridge], seeds: 1}\n")
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        assert campaign.history.of("later-references")


def objectives(path: Path, text: str) -> Path:
    path.write_text(path.read_text().replace("{validation_rmse: minimise, parameters: minimise}", text))
    return path


def test_without_a_network_within_the_limits_references_are_trained_alone(folder: Path) -> None:
    path = file(folder, "{kinds: [ridge], seeds: 1}")
    with open_campaign(objectives(path, "{validation_rmse: minimise, parameters: {at_most: 1}}")) as campaign:
        assert campaign.run() == "finished"
    assert [name for study, name in trials(folder) if study == "search-references"] == ["ridge"]
    assert "found nothing that keeps all limits" in write(folder / "runs/c").read_text()


def test_a_limit_alone_does_not_tell_references_apart(folder: Path) -> None:
    path = objectives(file(folder, "[ridge]"), "{parameters: minimise, validation_rmse: {at_most: 9}}")
    studies, _ = validate(load(path))
    assert [str(o) for o in studies[2].objectives] == ["minimise validation_mae"]


def test_a_limit_of_time_that_would_stop_each_is_refused(folder: Path) -> None:
    path = file(folder, "{kinds: [ridge], budget: {seconds: 60}}")
    path.write_text(path.read_text().replace("budget: {trials: 2}", "budget: {trials: 2}\n    limits: {timeout_s: 30}"))
    with pytest.raises(
        ConfigError, match=r"studies.search.reference.budget: expected fewer seconds than .* 30 s, got 60"
    ):
        load(path)


def test_the_time_of_the_studies_before_counts(folder: Path) -> None:
    path = file(folder, "{kinds: [], seeds: 1}")
    text = path.read_text().replace("    reference: {kinds: [], seeds: 1}\n", "")
    text = text.replace(
        "strategy: random\n    budget: {trials: 1}", "strategy: {kind: confirmation, data: {from: search}}"
    )
    path.write_text(f"{text}    budget: {{trials: 1}}\n    reference: {{kinds: [], seeds: 1}}\n")
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        strategy = builder(load(path), campaign.history, ArtifactStore(folder)).strategy("later-references")
        before = [*campaign.history.of("search"), *campaign.history.of("later")]
        assert strategy._seconds == pytest.approx(sum(map(seconds, before))) and len(before) == 3
    assert "for 3 trials" in write(folder / "runs/c").read_text()


def test_what_made_every_trial_fail_can_be_put_right(folder: Path) -> None:
    (folder / "two_losses.py").write_text(
        "def bad(outputs, targets):\n"
        "    if len(outputs) > 4:  # not when it is tried beforehand\n"
        "        raise RuntimeError('no luck')\n"
        "    return (outputs - targets).square().mean()\n"
    )
    path = file(folder, "[ridge]", **{"epochs: 1}": "epochs: 1, task: {kind: regression, loss: 'two_losses:bad'}}"})
    with open_campaign(path) as campaign:
        assert campaign.run() == "nothing answered"
    path.write_text(path.read_text().replace(", loss: 'two_losses:bad'", ""))
    with open_campaign(path, accept_changes=True) as campaign:
        assert campaign.run() == "finished"


def test_the_network_to_use_is_the_searchs_whatever_is_trained_beside_it(folder: Path) -> None:
    path = file(folder, "{kinds: [perceptron], seeds: 1, tuned: false}")
    text = path.read_text().partition("  later:")[0]
    path.write_text(text)
    with open_campaign(path) as campaign:
        assert campaign.run() == "finished"
        assert leading(campaign.history, None)[0].study == "search"
        anew = campaign.history.of("search-references")[1]
        store = ArtifactStore(folder / "runs/c/artifacts")
        card = bundles.export(campaign.history, store, folder / "bundle", None, anew.id, now=0.0)
        assert card["members"][0]["trial"] == anew.id and anew.point["reference"] == WINNER
        with pytest.raises(MatloopError, match="networks:perceptron makes, a reference; only networks that were"):
            export(campaign.history, store, folder / "other", trial=campaign.history.of("search-references")[0].id)
    more = "  finals:\n    space: {from: search}\n    driver: {from: search}\n    budget: {trials: 1}\n"
    path.write_text(f"{text}{more}    strategy: {{kind: confirmation, data: {{from: search}}}}\n")
    with open_campaign(path, accept_changes=True) as campaign:
        assert campaign.run() == "finished"
        assert leading(campaign.history, None)[0].study == "finals"
