"""The bundled digits teachers as they ship: that the figures beside their weights are theirs."""

import json

import pytest

from backend.bundled import teacher_cards
from backend.datasets.digits import digits
from backend.evaluate import FeatureNetwork
from backend.judge import stored_figures
from backend.resources import RESOURCES
from backend.teachers import BUNDLED, load_teacher


@pytest.mark.parametrize("name", [name for name in BUNDLED if name.startswith("digits")])
def test_figures_on_the_card_are_of_these_weights_and_features(name: str) -> None:
    teacher, folder = load_teacher(name), RESOURCES / "teachers" / name
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert figures["weights"] == teacher.digest
    assert figures["features_digest"] == FeatureNetwork.load().digest
    assert figures["reference_digest"] == digits("train").digest
    assert stored_figures(teacher) == {k: v for k, v in figures["nfe"]["50"].items() if v is not None}
    training = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))["training"]
    assert (folder / "README.md").read_text(encoding="utf-8") == teacher_cards.card(teacher, figures, training)
