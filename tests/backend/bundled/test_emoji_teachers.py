"""The bundled emoji teachers as they ship: what plain diffusers makes of them, and that their figures are theirs."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from backend import judge
from backend.datasets.emoji import emoji, names
from backend.evaluate import FeatureNetwork, agreement
from backend.resources import RESOURCES
from backend.samplers import teacher_sampler
from backend.teachers import BUNDLED, load_teacher

FEATURES = RESOURCES / "features" / "emoji.safetensors"


@pytest.fixture(scope="module")
def features() -> FeatureNetwork:
    return FeatureNetwork.load(FEATURES)


@pytest.fixture(scope="module")
def known(features: FeatureNetwork) -> torch.Tensor:
    """What it makes of every picture, (1392, 128)."""
    return features.describe(emoji().images)[0]


def test_features_are_standardised_on_the_pictures_they_were_trained_on(
    features: FeatureNetwork, known: torch.Tensor
) -> None:
    assert features.name == "emoji-128"
    assert known.mean(0).abs().max() < 1e-4
    assert known.std(0) == pytest.approx(torch.ones(128), abs=1e-3)


def test_a_dimmed_or_moved_picture_is_still_nearest_to_its_own(features: FeatureNetwork, known: torch.Tensor) -> None:
    labels = emoji().labels
    asked = labels[::7]
    images = emoji().images[::7]
    moved, dimmed = images.roll((1, -1), (2, 3)), (images + 1) * 0.95 - 1
    assert agreement(known, features.describe(images)[0], labels, asked) == 1
    assert agreement(known, features.describe(moved)[0], labels, asked) >= 0.97
    assert agreement(known, features.describe(dimmed)[0], labels, asked) >= 0.97
    assert agreement(known, features.describe(images.flip(0))[0], labels, asked) < 0.05


@pytest.fixture(scope="module", params=[name for name in BUNDLED if name.startswith("emoji")])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_plain_diffusers_makes_pictures_of_it(name: str) -> None:
    folder = RESOURCES / "teachers" / name
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    # Stable Diffusion 3's pipeline wants to be told which of its text encoders are left out.
    left_out = {part: None for part in ("text_encoder_3", "tokenizer_3") if index.get(part) == [None, None]}
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, **left_out)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline("honeybee", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert isinstance(made, Image.Image)
    assert made.size == (64, 64)
    assert np.asarray(made).std() > 5


def test_figures_on_the_card_are_of_these_weights_and_features(name: str, features: FeatureNetwork) -> None:
    teacher = load_teacher(name)
    figures = json.loads((RESOURCES / "teachers" / name / "figures.json").read_text(encoding="utf-8"))
    assert figures["weights"] == teacher.digest
    assert figures["features_digest"] == features.digest
    assert figures["reference_digest"] == emoji().digest
    assert set(teacher.prompts) == set(names())
    card = (RESOURCES / "teachers" / name / "README.md").read_text(encoding="utf-8")
    assert f"{figures['nfe']['50']['agreement']:.3f}" in card


def test_the_autoencoder_keeps_a_picture_what_it_is(features: FeatureNetwork, known: torch.Tensor) -> None:
    teacher = load_teacher("emoji")
    images, labels = emoji().images[::29], emoji().labels[::29]
    with torch.no_grad():
        latents = teacher.codec.encode(images)
        made = teacher.codec.decode(latents).clamp(-1, 1)
    assert latents.shape[1:] == (4, 16, 16)
    assert latents.std() == pytest.approx(1, abs=0.1)
    assert agreement(known, features.describe(made)[0], emoji().labels, labels) >= 0.95


def test_what_is_asked_of_a_prompt_is_the_picture_of_that_name() -> None:
    teacher = load_teacher("emoji")
    asked = judge.asked_of(teacher, 5)
    assert asked is not None
    assert tuple(names()[i] for i in asked) == teacher.each_prompt(5)
    made = judge.draw(teacher.guided, teacher_sampler(1), teacher, teacher.each_condition(2), seed=0)
    assert made.shape == (2, 3, 64, 64)
