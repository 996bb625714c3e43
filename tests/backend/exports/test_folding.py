"""Numbers that a student is told, made part of its weights where they are constants."""

from pathlib import Path

import pytest
import torch

from backend.exports import ExportError, export
from backend.exports.diffusers_folder import folded
from backend.exports.verify import verify
from backend.networks import Condition, Denoiser
from backend.samplers import Sampler, even_levels, told

from .students import FACTS, student

COND = Condition.of_labels(torch.arange(10))


def told_student(*names: str) -> Denoiser:
    """A student whose numbers matter."""
    net = student("flow").extended(*names)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if ".numbers." in name:
                weight.add_(torch.randn(weight.shape), alpha=0.2)
    return net


@pytest.mark.parametrize(
    ("names", "sampler"),
    [
        (("guidance",), Sampler("deterministic", even_levels(3), 2.5)),
        (("end_time", "sign"), Sampler("renoise", (1.0,))),
    ],
)
def test_a_constant_is_folded_into_the_weights(names: tuple[str, ...], sampler: Sampler) -> None:
    net, x = told_student(*names), torch.randn(10, 1, 16, 16)
    t = torch.full((10,), sampler.levels[0], dtype=torch.float64)
    expected = net(x, t, told(net, sampler, 0, COND, x)).output
    plain = folded(net, sampler)
    assert plain.inputs == ()
    torch.testing.assert_close(plain(x, t, COND).output, expected, rtol=0, atol=1e-5)
    assert not any("numbers" in name for name in plain.state_dict())


def test_plain_diffusers_makes_the_pictures_of_a_student_that_is_told_its_guidance(tmp_path: Path) -> None:
    net, sampler = told_student("guidance"), Sampler("deterministic", even_levels(2), 3.0)
    done = export("diffusers", net, sampler, COND, FACTS, tmp_path / "out")
    assert verify(done.path).sound
    assert net.inputs == ("guidance",)  # the student itself is left as it was


def test_what_changes_from_step_to_step_has_no_place(tmp_path: Path) -> None:
    net, sampler = told_student("end_time"), Sampler("deterministic", even_levels(2))
    with pytest.raises(ExportError, match="told its end time at each step"):
        export("diffusers", net, sampler, COND, FACTS, tmp_path / "out")
    with pytest.raises(ExportError, match="told its guidance"):
        export("diffusers", told_student("guidance"), Sampler("renoise", (1.0,)), COND, FACTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
