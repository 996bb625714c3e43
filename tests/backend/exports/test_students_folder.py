"""Several students as one export: each for its own, together the preview's pictures, and nothing for strangers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from backend.exports import Export, ExportError, export
from backend.exports.verify import verify, verify_all
from backend.networks import Condition
from backend.networks.routed import Partition, RoutedDenoiser
from backend.samplers import Sampler, even_levels, normal, sample
from backend.teachers import load_teacher

from ..teachers import tiny
from .students import FACTS, student

COND = Condition.of_labels(torch.arange(10))
TWO = Sampler("renoise", even_levels(2))


def two_students() -> RoutedDenoiser:
    table = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    return RoutedDenoiser([student("flow"), student("flow", 1.3)], Partition(2, table=table))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export("diffusers", two_students(), TWO, COND, FACTS, tmp_path_factory.mktemp("out") / "students")


def test_the_index_says_which_is_for_what(exported: Export) -> None:
    index = json.loads((exported.path / "students.json").read_text())
    assert index == {
        "student-1": {"labels": [0, 1, 2, 3, 4], "names": ["0", "1", "2", "3", "4"]},
        "student-2": {"labels": [5, 6, 7, 8, 9], "names": ["5", "6", "7", "8", "9"]},
    }
    card = (exported.path / "README.md").read_text()
    assert "| [student-2](student-2/README.md) | 5, 6, 7, 8, 9 |" in card
    assert {"student-1/distill.json", "student-2/unet/config.json", "students.json"} <= set(exported.hashes)


def test_the_pictures_are_those_of_the_student_as_one(exported: Export) -> None:
    net, expected = two_students(), load_file(exported.path / "expected.safetensors")["samples"]
    for half, labels in ((slice(5), torch.arange(5)), (slice(5, 10), torch.arange(5, 10))):
        generator = torch.Generator().manual_seed(0)
        noise = normal((5, *net.shape), generator)
        made = sample(net, TWO, noise, Condition.of_labels(labels), generator)
        torch.testing.assert_close(expected[half], made.clamp(-1, 1))


def test_plain_diffusers_makes_them_and_a_student_put_in_anothers_place_is_found(
    exported: Export, tmp_path: Path
) -> None:
    one, two = (exported.path / f"student-{k}" / "unet" / "config.json" for k in (1, 2))
    assert one.read_bytes() == two.read_bytes()
    mixed_up = tmp_path / "mixed-up"
    shutil.copytree(exported.path, mixed_up)
    weights = Path("unet") / "diffusion_pytorch_model.safetensors"
    shutil.copy(mixed_up / "student-2" / weights, mixed_up / "student-1" / weights)
    found, wrong = verify_all([exported.path, mixed_up])
    assert found.sound, found.sentence
    assert not wrong.same_pictures
    assert wrong.changed == ("student-1/unet/diffusion_pytorch_model.safetensors",)


def test_a_class_of_no_student_is_refused(exported: Export) -> None:
    scope: dict[str, Any] = {"__name__": "sample"}
    exec((exported.path / "sample.py").read_text(), scope)
    with pytest.raises(ValueError, match=r"No student is for 10; students\.json"):
        scope["sample"](str(exported.path), [10], 0)


@pytest.mark.parametrize("form", ["safetensors", "lora"])
def test_forms_of_one_network_are_refused(form: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"2 networks, each for a part of .*as diffusers"):
        export(form, two_students(), TWO, COND, FACTS, tmp_path / "student")


def test_prompts_go_to_the_student_of_their_cluster(tiny_model: Any, tmp_path: Path) -> None:
    from backend.networks.routed import partition_of

    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    net = RoutedDenoiser([teacher.trainable(), teacher.trainable()], partition_of(teacher, 2))
    with torch.no_grad():
        for parameter in net.network.students[1].parameters():
            parameter.mul_(1.1)
    plan = Sampler("renoise", (0.999 * 0.75,))
    made = export("diffusers", net.eval(), plan, teacher.each_condition(4), FACTS, tmp_path / "out", teacher=teacher)
    index = json.loads((made.path / "students.json").read_text())
    assert sorted(prompt for known in index.values() for prompt in known["prompts"]) == sorted(tiny.PROMPTS)
    assert len(index) == 2
    assert teacher.embedded is not None
    for prompt, k in zip(teacher.prompts, net.network.partition(teacher.embedded).tolist(), strict=True):
        assert prompt in index[f"student-{k + 1}"]["prompts"]
    found = verify(made.path)
    assert found.sound, found.sentence
