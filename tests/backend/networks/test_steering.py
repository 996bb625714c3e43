"""Steering in cross-attention: what is subtracted, and that without it a network is what it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from backend.contract.recipe import RecipeError
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.networks.steering import Steered, negative_prompt, steer
from backend.noise import FlowMatching
from backend.samplers import Sampler, sample
from backend.teachers import Teacher, load_teacher
from backend.teachers.prompts import tokens

from ..teachers import tiny


def parts() -> tuple[Attention, Tensor, Tensor, Tensor]:
    """A cross-attention layer, queries, a prompt and a negative prompt of another length, in float64."""
    torch.manual_seed(0)
    attn = Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4).double()
    assert isinstance(attn.to_out, torch.nn.ModuleList)
    return attn, torch.randn(3, 5, 8).double(), torch.randn(3, 7, 6).double(), torch.randn(4, 6).double()


def attended(attn: Attention, queries: Tensor, text: Tensor) -> Tensor:
    """softmax(Q Kᵀ/√d) V of both heads, by hand and before the output projection."""
    q, k, v = (
        layer(x).unflatten(2, (2, 4)).transpose(1, 2)
        for layer, x in ((attn.to_q, queries), (attn.to_k, text), (attn.to_v, text))
    )
    found: Tensor = ((q @ k.mT / 2).softmax(-1) @ v).transpose(1, 2).flatten(2)
    return found


def test_the_attention_to_the_negative_prompt_is_subtracted_before_the_output_projection() -> None:
    attn, queries, text, negative = parts()
    scale = torch.tensor([0.0, 0.5, 1.0]).double()
    found = Steered(AttnProcessor2_0(), negative, scale)(attn, queries, text)
    z = attended(attn, queries, text) - scale[:, None, None] * attended(attn, queries, negative.expand(3, 4, 6))
    torch.testing.assert_close(found, attn.to_out[0](z))


def test_a_negative_prompt_like_the_prompt_shrinks_the_attention_and_no_strength_changes_no_bit() -> None:
    attn, queries, text, _ = parts()
    plain = AttnProcessor2_0()
    bias = attn.to_out[0].bias
    one = text[:1]
    half = Steered(plain, one[0], torch.tensor([0.5]).double())(attn, queries[:1], one)
    torch.testing.assert_close(half - bias, 0.5 * (plain(attn, queries[:1], one) - bias))
    none = Steered(plain, one[0], torch.zeros(3).double())(attn, queries, text)
    assert torch.equal(none, plain(attn, queries, text))


@pytest.fixture(scope="module")
def teacher(tiny_model: Callable[[str], Path]) -> Teacher:
    return load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)


def test_a_network_is_steered_where_its_condition_says_so_and_nowhere_else(teacher: Teacher) -> None:
    cond = teacher.each_condition(2)
    noised, t = torch.randn(2, *teacher.denoiser.shape), torch.tensor([0.3, 0.8], dtype=torch.float64)
    net = steer(teacher.trainable().frozen(), "rain", cond.part("text")[1])
    assert negative_prompt(net) == "rain"
    assert negative_prompt(teacher.denoiser) == ""
    plain = teacher.denoiser(noised, t, cond).output
    steered = net(noised, t, cond.with_part("away", torch.tensor([0.0, 0.5]))).output
    assert torch.equal(net(noised, t, cond).output, plain)  # also after it was steered
    torch.testing.assert_close(steered[0], plain[0])
    assert (steered[1] - plain[1]).abs().max() > 1e-4
    assert net.state_dict().keys() == teacher.denoiser.state_dict().keys()


@pytest.mark.parametrize("name", ["pixart-alpha", "pixart-sigma", "sana"])
def test_a_transformer_attends_to_the_negative_prompt_as_it_does_to_a_prompt(
    name: str, tiny_model: Callable[[str], Path]
) -> None:
    """Through its own projection, and to no padding: away from the prompt itself all of its attention is taken away."""
    teacher = load_teacher(str(tiny_model(name)), prompts=tiny.PROMPTS)
    net = steer(teacher.trainable().frozen(), tiny.PROMPTS[1], tokens(teacher, tiny.PROMPTS[1]))
    cond = teacher.each_condition(2)
    noised, t = torch.randn(2, *net.shape), torch.tensor([0.3, 0.8], dtype=torch.float64)
    seen: dict[str, Tensor] = {}

    def without_bias(layer: Attention, given: object, made: Tensor) -> None:
        seen["attended"] = (made - layer.to_out[0].bias).abs().amax((1, 2))

    layer = next(m for n, m in net.named_modules() if n.endswith(".attn2"))
    hook = layer.register_forward_hook(without_bias)
    away = net(noised, t, cond.with_part("away", torch.ones(2))).output
    hook.remove()
    assert seen["attended"][1] < 1e-6
    assert seen["attended"][0] > 1e-4
    assert torch.equal(net(noised, t, cond).output, teacher.denoiser(noised, t, cond).output)
    assert (away - teacher.denoiser(noised, t, cond).output).abs().max() > 1e-5


def test_the_sampler_says_how_strongly(teacher: Teacher) -> None:
    cond, noise = teacher.each_condition(2), torch.randn(2, *teacher.denoiser.shape)
    net = steer(teacher.trainable().frozen(), "rain", cond.part("text")[1])
    none, some = Sampler("renoise", (0.6,)), Sampler("renoise", (0.6,), away=0.5)
    assert Sampler.from_json(some.to_json()) == some
    assert "away" not in none.to_json()
    one, other, plain = (
        sample(n, s, noise, cond, torch.Generator()) for n, s in ((net, none), (net, some), (teacher.denoiser, none))
    )
    assert torch.equal(one, plain)
    assert not torch.equal(one, other)


def test_what_has_no_cross_attention_is_refused(tiny_model: Callable[[str], Path]) -> None:
    joint = load_teacher(str(tiny_model("sd3-without-t5")), prompts=tiny.PROMPTS)
    for net in (Denoiser(MLP(), FlowMatching(), "flow"), joint.trainable()):
        with pytest.raises(RecipeError, match="no cross-attention that a negative prompt"):
            steer(net, "rain", torch.zeros(3, 4))


def test_attention_of_pictures_to_themselves_is_not_taken_for_it(
    tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some transformers of Stable Diffusion 3 have it under the name of what is attention to prompts elsewhere."""
    net = load_teacher(str(tiny_model("sd3-without-t5")), prompts=tiny.PROMPTS).trainable()
    monkeypatch.setattr(SD3Transformer2DModel, "attn_processors", {"transformer_blocks.0.attn2.processor": None})
    with pytest.raises(RecipeError, match="no cross-attention that a negative prompt"):
        steer(net, "rain", torch.zeros(3, 4))


def test_an_unconditional_batch_can_be_steered_too(teacher: Teacher) -> None:
    net = steer(teacher.trainable().frozen(), "rain", teacher.each_condition(2).part("text")[1])
    noised, t = torch.randn(2, *net.shape), torch.full((2,), 0.5, dtype=torch.float64)
    cond = Condition.none(2).with_part("away", torch.full((2,), 0.3))
    assert net(noised, t, cond).output.isfinite().all()
