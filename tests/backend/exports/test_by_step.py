"""Students whose network is not the same at every step, and numbers that become part of the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save

from backend.exports import ExportError, export
from backend.exports.by_step import by_step
from backend.exports.verify import verify
from backend.networks import Condition, Denoiser
from backend.networks.experts import with_experts
from backend.networks.momentum import with_momentum
from backend.samplers import Sampler, even_levels, told

from .students import FACTS, student

SamplerKind = Literal["deterministic", "renoise", "momentum"]
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
    parts = by_step(net, sampler)
    plain = parts.student
    assert parts.why == ""
    assert plain.inputs == ()
    torch.testing.assert_close(plain(x, t, COND).output, expected, rtol=0, atol=1e-5)
    assert not any("numbers" in name for name in plain.state_dict())


def test_plain_diffusers_makes_the_pictures_of_a_student_that_is_told_its_guidance(tmp_path: Path) -> None:
    net, sampler = told_student("guidance"), Sampler("deterministic", even_levels(2), 3.0)
    done = export("diffusers", net, sampler, COND, FACTS, tmp_path / "out")
    assert verify(done.path).sound
    assert net.inputs == ("guidance",)  # the student itself is left as it was


def several() -> Denoiser:
    """Two networks, each for a part of the noise."""
    first, second = student("edm"), student("edm")
    with torch.no_grad():
        for weight in second.parameters():
            weight.mul_(1.1)
    return with_experts([first, second], [0.4])


def curved() -> Denoiser:
    """A student that answers with a mixture of velocities for a whole step."""
    net = with_momentum(student("epsilon"), 3)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in net.network.profile.parameters():
            weight.add_(torch.randn(weight.shape), alpha=0.1)
    return net


BY_STEP: dict[str, tuple[Callable[[], Denoiser], SamplerKind, str]] = {
    "end times": (lambda: told_student("end_time"), "deterministic", "steps.safetensors"),
    "end times, noised anew": (lambda: told_student("end_time"), "renoise", "steps.safetensors"),
    "phases": (several, "renoise", "unet_2/diffusion_pytorch_model.safetensors"),
    "momentum": (curved, "momentum", "momentum.safetensors"),
}


@pytest.mark.parametrize("name", BY_STEP)
def test_plain_diffusers_makes_the_pictures_of_a_student_with_something_for_each_step(
    name: str, tmp_path: Path
) -> None:
    make, kind, file = BY_STEP[name]
    net, sampler = make(), Sampler(kind, even_levels(3))
    done = export("diffusers", net, sampler, COND, FACTS, tmp_path / "out")
    found = verify(done.path)
    assert found.sound, found.sentence
    assert file in done.hashes
    # What each step has for itself is what makes the pictures, and is checked.
    (done.path / file).write_bytes(changed(done.path / file))
    spoilt = verify(done.path)
    assert spoilt.changed == (file,)
    assert not spoilt.same_pictures


def changed(file: Path) -> bytes:
    """The same safetensors file with all weights larger."""
    larger: bytes = save({name: 1.5 * weight for name, weight in load_file(file).items()})
    return larger


def test_steps_ends_take_up_no_more_than_a_bias_each(tmp_path: Path) -> None:
    net, sampler = told_student("end_time"), Sampler("deterministic", even_levels(3))
    done = export("diffusers", net, sampler, COND, FACTS, tmp_path / "out")
    names = load_file(done.path / "steps.safetensors").keys()
    assert names == {f"{k}.time_embedding.linear_2.bias" for k in range(3)}
    assert net.inputs == ("end_time",)  # the student itself is left as it was


def test_each_step_has_the_network_of_its_noise() -> None:
    net = several()
    assert by_step(net, Sampler("renoise", even_levels(4))).networks == (0, 0, 0, 1)
    assert by_step(net, Sampler("renoise", (0.3,))).networks == (1,)


def test_a_number_that_the_sampler_does_not_know_has_no_place(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="told its guidance, for which"):
        export("diffusers", told_student("guidance"), Sampler("renoise", (1.0,)), COND, FACTS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
