"""Guidance in adapters: what they are told, what they are taught on, and that the network under them stays as it is."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend.contract.recipe import RecipeError, Training
from backend.contract.settings import problems
from backend.methods import Batch
from backend.methods import adapter_guidance as agd
from backend.methods.adapter_guidance import METHOD, Nets, Settings
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.adapters import adapted, load_own_state, merged, own_parameters, own_state, size_in_words
from backend.networks.gates import powers, rank_within, settled, with_gated_adapters
from backend.networks.mlp import MLP
from backend.noise import FlowMatching
from backend.samplers import Sampler, initial, jump, sample
from backend.teachers import Teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, paths
from backend.train import start, train

from .test_every_method import unet_teacher

CPU = torch.device("cpu")
KINDS = tuple(paths())


def exact(kind: str) -> ClosedFormDenoiser:
    return ClosedFormDenoiser(MIXTURE, *paths()[kind], conditional=True)


def batch(n: int = 16, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(0, 1, Condition.of_labels(torch.arange(n) % 3), (2,), generator, CPU)


def mlp(seed: int = 0) -> Denoiser:
    torch.manual_seed(seed)
    return Denoiser(MLP(width=32, classes=3), FlowMatching(), "flow").frozen()


def u_net() -> Denoiser:
    return unet_teacher("flow").denoiser


def loud(base: Denoiser, rank: int = 2) -> Denoiser:
    """Adapters that do something, and not in proportion to the scale."""
    net = with_gated_adapters(base, rank)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in own_parameters(net):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return net


def answer(net: Denoiser, scales: list[float], rows: slice = slice(None)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    noised = torch.randn(3, *net.shape, generator=generator)[rows]
    t, told = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)[rows], torch.tensor(scales)[rows]
    cond = Condition.of_labels(torch.arange(3)[rows]).with_part("guidance", told)
    return net(noised, t, cond).output  # type: ignore[no-any-return]


bases = pytest.mark.parametrize("make", [mlp, u_net])


@bases
def test_without_guidance_the_adapters_are_silent_whatever_they_have_learnt(make: Callable[[], Denoiser]) -> None:
    base = make()
    net = loud(base)
    torch.testing.assert_close(answer(net, [1.0, 1.0, 1.0]), answer(base, [0.0] * 3))
    assert (answer(net, [2.0] * 3) - answer(base, [0.0] * 3)).abs().max() > 1e-3


@bases
def test_each_sample_hears_its_own_scale(make: Callable[[], Denoiser]) -> None:
    net, scales = loud(make()), [2.0, 1.0, 6.0]
    each = [answer(net, scales, slice(i, i + 1)) for i in range(3)]
    torch.testing.assert_close(answer(net, scales), torch.cat(each), rtol=1e-4, atol=1e-5)


@bases
def test_at_one_scale_they_are_plain_adapters(make: Callable[[], Denoiser]) -> None:
    base = make()
    net = loud(base)
    expected = answer(net, [4.0] * 3)
    plain = settled(net, 4.0)
    assert plain.inputs == ()
    assert len(adapted(plain)) == len(adapted(net))
    torch.testing.assert_close(answer(plain, [0.0] * 3), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer(merged(plain), [0.0] * 3), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer(net, [4.0] * 3), expected, rtol=0, atol=0)  # itself it is as it was
    assert net.inputs == ("guidance",)


def test_they_are_not_merged_at_no_scale() -> None:
    net = loud(mlp())
    with pytest.raises(ValueError, match="must be settled"):
        merged(net)
    with pytest.raises(ValueError, match="need one to be settled at"):
        settled(net, None)
    plain = mlp()
    assert settled(plain, None) is plain


def test_the_gate_is_told_powers_of_the_distance_from_no_guidance() -> None:
    assert powers(torch.tensor([1.0, 9.0, 5.0])).tolist() == [[0, 0, 0], [1, 1, 1], [0.5, 0.25, 0.125]]


@bases
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_as_many_parameters_as_the_share_allows_and_no_more(make: Callable[[], Denoiser], share: float) -> None:
    base = make()
    rank, whole = rank_within(base, share), sum(p.numel() for p in base.parameters())
    now, more = (sum(p.numel() for p in own_parameters(with_gated_adapters(base, r))) for r in (rank, rank + 1))
    assert now <= share * whole < more
    assert size_in_words(with_gated_adapters(base, rank)).startswith(f"adapters of {now:,} parameters, ")
    assert size_in_words(base) == ""


def test_their_own_state_goes_onto_another_checkpoint_of_the_base() -> None:
    base, other = mlp(), mlp()
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    net = loud(base)
    moved = with_gated_adapters(other, 2)
    load_own_state(moved, own_state(net))
    assert all(".lora_" in name for name in own_state(net))
    torch.testing.assert_close(answer(moved, [1.0] * 3), answer(other, [0.0] * 3))
    effect, moved_effect = (answer(n, [3.0] * 3) - answer(b, [0.0] * 3) for n, b in ((net, base), (moved, other)))
    assert torch.nn.functional.cosine_similarity(effect, moved_effect).min() > 0.9


def test_a_network_that_is_told_its_scale_already_is_refused() -> None:
    base = mlp()
    base.network.native = ("guidance",)  # type: ignore[assignment]
    with pytest.raises(RecipeError, match="is told its guidance scale already"):
        with_gated_adapters(base, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_taught_along_the_guided_teachers_own_way(kind: str) -> None:
    net = exact(kind)
    drawn = batch()
    told = drawn.cond.with_part("guidance", torch.linspace(1, 5, 16))
    states, times, answers = agd.trajectories(Guided(net, None), drawn, told, 5)
    assert torch.equal(states[0], initial(batch().noise(), net.path, 1.0))
    assert (times[0] == 1).all()
    for k in range(1, 5):  # one time in each quarter, the last in the quarter next to the data
        assert ((times[k] >= (4 - k) / 4) & (times[k] <= (5 - k) / 4)).all()
    for k, (state, t, found) in enumerate(zip(states, times, answers, strict=True)):
        for i, scale in ((0, 1.0), (15, 5.0)):
            row = slice(i, i + 1)
            expected = Guided(net, scale)(state[row], t[row], told[row])
            torch.testing.assert_close(found[row], expected.output, rtol=1e-4, atol=1e-4)
        if k < 4:
            prediction = Prediction(state, found, t, net.path, net.prediction_type, net.sigma_data)
            reached = jump(prediction, net.path, times[k + 1])
            torch.testing.assert_close(states[k + 1], reached.to(state.dtype), rtol=1e-4, atol=1e-4)


class Told(Denoiser):
    """The guided teacher as a student: it answers what the scale that it is told asks for."""

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        found: Prediction = Guided(exact("flow"), None)(noised, t, cond)
        return found


def losses_of(nets: Nets, **settings: float) -> list[Tensor]:
    s = Settings.model_validate({"student_steps": 4, **settings})
    return [update.losses["guidance"] for update in agd.step(nets, batch(), s)]


def test_a_student_that_answers_as_it_is_told_has_no_loss_and_a_deaf_one_has() -> None:
    net = exact("flow")
    perfect = Told(net.network, net.path, net.prediction_type, net.sigma_data)
    found = losses_of(Nets(Guided(net, None), perfect))
    assert [loss.item() for loss in found] == pytest.approx([0] * 4, abs=1e-8)
    assert min(losses_of(Nets(Guided(net, None), net))) > 1e-5
    assert max(losses_of(Nets(Guided(net, 1.0), net))) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("kind", ["edm", "epsilon"])
def test_the_gradient_is_that_of_differences(kind: str, untrained: Callable[..., Teacher]) -> None:
    teacher = untrained(kind, classes=True)
    student = loud(teacher.trainable().frozen()).double()
    nets = Nets(Guided(teacher.denoiser, None), student)
    weight = next(p for name, p in student.named_parameters() if "lora_B" in name)
    (gradient,) = torch.autograd.grad(losses_of(nets)[1], weight)
    step, values = 1e-6, []
    with torch.no_grad():
        for sign in (1, -1):
            weight[1, 1] += sign * step
            values.append(losses_of(nets)[1].item())
            weight[1, 1] -= sign * step
    assert gradient[1, 1].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-8)


def test_the_base_is_never_touched_and_its_cost_is_what_it_does() -> None:
    teacher, s = unet_teacher("flow"), Settings(student_steps=3)
    before = {name: value.clone() for name, value in teacher.denoiser.state_dict().items()}
    run = start(METHOD, s, Training(steps=2, batch_size=4), teacher, None, CPU)
    rows = {"student": 0, "teacher": 0}

    def count(name: str) -> Callable[..., None]:
        return lambda net, given, made: rows.update({name: rows[name] + len(given[0])})

    run.student.register_forward_hook(count("student"))
    teacher.denoiser.register_forward_hook(count("teacher"))
    list(train(run))
    # Adapters are updated through the network under them, whose own weights take no gradient.
    assert (2 * rows["student"] + rows["teacher"]) / 8 == METHOD.cost(s) == 12
    after = {id(p) for p in teacher.denoiser.parameters()}
    assert sum(id(p) in after for p in run.student.parameters()) == len(after)
    assert all(torch.equal(value, before[name]) for name, value in teacher.denoiser.state_dict().items())
    assert any(p.abs().sum() > 0 for name, p in run.student.named_parameters() if "lora_B" in name)
    rows["student"] = 0
    sample(run.student, run.sampler, torch.randn(5, 1, 8, 8), teacher.each_condition(5), torch.Generator())
    assert rows["student"] == 5 * run.sampler.nfe == 15
    assert run.sampler == Sampler("deterministic", run.student.path.grid(3), 3.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lowest_guidance": 6.0}, "lowest_guidance is 6 and highest_guidance 6; give a range"),
        ({"guidance_scale": 7.5}, "guidance_scale is 7.5, which the student does not learn; choose it from 1 to 6"),
    ],
)
def test_scales_that_do_not_fit_together_are_refused(settings: dict[str, float], words: str) -> None:
    (found,) = problems(Settings, settings)
    assert found.startswith(words)


def test_a_teacher_without_an_unconditional_mode_has_no_guidance(untrained: Callable[..., Teacher]) -> None:
    teacher = replace(untrained("edm"), draws=None)
    run = start(METHOD, Settings(), Training(steps=1, batch_size=4), teacher, None, CPU)
    with pytest.raises(ValueError, match="no unconditional mode"):
        list(train(run))
