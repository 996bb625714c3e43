"""An export of a student that is steered away from a negative prompt: its sample.py does it, and its card says so."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from backend.exports import Export, diffusers_folder, export
from backend.exports.verify import Verification, verify_all
from backend.methods.snoopi import METHOD, Settings
from backend.samplers import Sampler
from backend.teachers import load_teacher

from ..teachers import tiny
from .students import FACTS

NEGATIVE = 'a "red" fox\\'
MODELS = ("sd", "sdxl", "pixart-alpha", "pixart-sigma", "sana")


@dataclass(frozen=True)
class Steered:
    """An export of a steered student, with the pictures that it makes when nothing steers it."""

    export: Export
    plain: Tensor


@pytest.fixture(scope="module")
def students(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Steered]:
    root, made = tmp_path_factory.mktemp("steered"), {}
    for model in MODELS:
        teacher = load_teacher(str(tiny_model(model)), prompts=tiny.PROMPTS)
        s = Settings(negative_prompt=NEGATIVE, away=0.6)
        net, cond = METHOD.new_student(teacher, s).frozen(), teacher.each_condition(2)
        sampler = METHOD.sampler(s, net)
        done = export("diffusers", net, sampler, cond, FACTS, root / model, 0, teacher)
        plain = diffusers_folder.expected(net, Sampler("renoise", sampler.levels), cond, 0, teacher)
        made[model] = Steered(done, plain)
    return made


@pytest.fixture(scope="module")
def findings(students: dict[str, Steered]) -> dict[str, Verification]:
    return dict(zip(students, verify_all([one.export.path for one in students.values()]), strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_plain_diffusers_makes_the_steered_pictures(
    model: str, students: dict[str, Steered], findings: dict[str, Verification]
) -> None:
    assert findings[model].sound
    done = students[model].export
    shown = load_file(done.path / "expected.safetensors")["samples"]
    assert (shown - students[model].plain).abs().max() > 1e-3
    card = (done.path / "README.md").read_text()
    assert f"steered away from {json.dumps(NEGATIVE)}, by 0.6" in card
    assert "the pipeline's own call without them makes other pictures" in card
    assert "makes such pictures too" not in card


def test_a_single_file_says_what_it_cannot_hold(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    s = Settings(negative_prompt="rain")
    net = METHOD.new_student(teacher, s).frozen()
    done = export(
        "safetensors", net, METHOD.sampler(s, net), teacher.each_condition(1), FACTS, tmp_path / "one", 0, teacher
    )
    with safe_open(done.path, framework="pt") as file:
        assert file.metadata()["distill.steered_away_from"] == "rain"
        assert "other pictures" in file.metadata()["modelspec.usage_hint"]
    assert torch.is_tensor(next(iter(load_file(done.path).values())))
