"""Predictions: every view of every type, and back; guidance; what wraps a network."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backend.networks import Condition, Denoiser, Guided, Prediction, PredictionType
from backend.networks.denoiser import output_weights
from backend.networks.mlp import MLP
from backend.networks.unet2d import UNet2D
from backend.noise import (
    FlowMatching,
    Path,
    Trigonometric,
    VarianceExploding,
    VariancePreserving,
    linear_betas,
    zero_terminal_snr,
)
from backend.teachers.mixture_2d import ClosedFormDenoiser, ring

torch.set_num_threads(1)

VP = VariancePreserving.of_betas(linear_betas())
PATHS: dict[str, Path] = {
    "vp": VP,
    "vp-zero-snr": VariancePreserving(zero_terminal_snr(VP.alphas_cumprod)),
    "ve": VarianceExploding(),
    "flow": FlowMatching(),
    "flow-shift": FlowMatching(3.0),
    "trigonometric": Trigonometric(),
}
KINDS: tuple[PredictionType, ...] = ("epsilon", "v_prediction", "sample", "flow", "edm")
SMALLEST = 1e-6  # below it conversions are cut off: nothing is stated where alpha (epsilon) or sigma (sample) is 0

combinations = [pytest.param(path, kind, id=f"{name}-{kind}") for name, path in PATHS.items() for kind in KINDS]
every_combination = pytest.mark.parametrize(("path", "kind"), combinations)
reproducible = settings(derandomize=True, deadline=None, max_examples=40)
numbers = st.floats(-5, 5, allow_subnormal=False)


def stated(path: Path, kind: PredictionType, x0: Tensor, noise: Tensor, t: Tensor, sigma_data: float) -> Prediction:
    """What an ideal network of this type says of samples whose x0 and noise are known."""
    a, b = output_weights(kind, path.alpha(t), path.sigma(t), sigma_data)
    output = a[:, None] * x0 + b[:, None] * noise
    return Prediction(path.noised(x0, noise, t), output, t, path, kind, sigma_data)


def defined(path: Path, kind: PredictionType, t: Tensor) -> tuple[Tensor, Tensor]:
    """Where x0 and where noise follow from the output: epsilon says no x0 at alpha 0, x0 no noise at sigma 0."""
    everywhere = torch.ones_like(t, dtype=torch.bool)
    x0 = path.alpha(t) > 2 * SMALLEST if kind == "epsilon" else everywhere
    noise = path.sigma(t) > 2 * SMALLEST if kind == "sample" else everywhere
    return x0, noise


@every_combination
@reproducible
@given(t=st.floats(0, 1, allow_subnormal=False), x0=numbers, noise=numbers, sigma_data=st.floats(0.1, 2))
def test_output_leads_back_to_x0_noise_velocity_and_score(
    path: Path, kind: PredictionType, t: float, x0: float, noise: float, sigma_data: float
) -> None:
    times = torch.tensor([0.0, t, 1.0], dtype=torch.float64)
    clean, unit = (torch.full((3, 2), value, dtype=torch.float64) for value in (x0, noise))
    prediction = stated(path, kind, clean, unit, times, sigma_data)
    has_x0, has_noise = defined(path, kind, times)
    assert torch.allclose(prediction.x0[has_x0], clean[has_x0], rtol=1e-6, atol=1e-6)
    assert torch.allclose(prediction.noise[has_noise], unit[has_noise], rtol=1e-6, atol=1e-6)
    both = has_x0 & has_noise
    a, b = path.velocity_weights(times)
    assert torch.allclose(prediction.velocity[both], (a * x0 + b * noise)[both, None], rtol=1e-6, atol=1e-6)
    inner = has_noise & (path.sigma(times) > SMALLEST)
    assert torch.allclose(prediction.score[inner], -(noise / path.sigma(times))[inner, None], rtol=1e-6, atol=1e-6)
    for view in (prediction.x0, prediction.noise, prediction.velocity, prediction.score):
        assert view.isfinite().all()  # also where nothing is stated


@every_combination
def test_views_of_one_type_make_the_output_of_another(path: Path, kind: PredictionType) -> None:
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(0, 1, 501, dtype=torch.float64)
    x0, noise = (torch.randn(501, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    first = stated(path, kind, x0, noise, t, 0.5)
    has_x0, has_noise = defined(path, kind, t)
    rows = has_x0 & has_noise
    for other in KINDS:
        a, b = output_weights(other, first.alpha, first.sigma, 0.5)
        output = a[:, None] * first.x0 + b[:, None] * first.noise
        second = Prediction(first.noised, output, t, path, other)
        has_x0, has_noise = defined(path, other, t)
        assert torch.allclose(second.x0[rows & has_x0], x0[rows & has_x0], rtol=1e-6, atol=1e-6)
        assert torch.allclose(second.noise[rows & has_noise], noise[rows & has_noise], rtol=1e-6, atol=1e-6)


@every_combination
def test_views_add_up_to_the_sample(path: Path, kind: PredictionType) -> None:
    """alpha x0 + sigma noise = noised for any output at all, not only for one that is right."""
    generator = torch.Generator().manual_seed(1)
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    noised, output = (torch.randn(99, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    prediction = Prediction(noised, output, t, path, kind)
    alpha, sigma = prediction.alpha[:, None, None], prediction.sigma[:, None, None]
    assert torch.allclose(alpha * prediction.x0 + sigma * prediction.noise, noised, atol=1e-9)
    assert torch.allclose(prediction.flow_velocity, prediction.noise - prediction.x0, rtol=1e-9, atol=1e-9)


@every_combination
def test_gradients_flow_through_every_view(path: Path, kind: PredictionType) -> None:
    generator = torch.Generator().manual_seed(2)
    t = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    noised, output = (torch.randn(3, 2, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for view in ("x0", "noise", "velocity", "score", "flow_velocity"):

        def through(noised: Tensor, output: Tensor, view: str = view) -> Tensor:
            return getattr(Prediction(noised, output, t, path, kind), view)  # type: ignore[no-any-return]

        assert torch.autograd.gradcheck(through, (noised, output))
        (gradient,) = torch.autograd.grad(through(noised, output).sum(), output)
        assert (gradient != 0).all()


@pytest.mark.parametrize("view", ["x0", "noise"])
def test_a_view_first_asked_for_without_a_gradient_has_one_all_the_same(view: str) -> None:
    output = torch.ones(2, 3, requires_grad=True)
    prediction = Prediction(
        torch.ones(2, 3), output, torch.full((2,), 0.5, dtype=torch.float64), FlowMatching(), "flow"
    )
    with torch.no_grad():
        first = getattr(prediction, view)
    second = getattr(prediction, view)
    assert torch.equal(first, second)
    assert not first.requires_grad
    (gradient,) = torch.autograd.grad(second.sum(), output)
    assert gradient.abs().min() == 0.5  # x0 = noised - t output, noise = noised + (1 - t) output


@every_combination
def test_error_is_zero_for_an_ideal_network_alone(path: Path, kind: PredictionType) -> None:
    generator = torch.Generator().manual_seed(3)
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x0, noise = (torch.randn(9, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    prediction = stated(path, kind, x0, noise, t, 0.5)
    assert prediction.error(x0, noise).abs().max() < 1e-12
    assert (prediction.error(x0 + 1, noise - 2).abs() > 1e-9).any()


def test_edms_weight_in_x0_is_the_papers() -> None:
    """(sigma² + sigma_data²)/(sigma sigma_data)² (arXiv:2206.00364, table 1)."""
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    x0, noise = torch.randn(2, 50, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    path, sigma_data = PATHS["ve"], 0.7
    right = stated(path, "edm", x0, noise, t, sigma_data)
    wrong = Prediction(right.noised, right.output + 0.1, t, path, "edm", sigma_data)
    sigma = path.sigma(t)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    expected = weight[:, None] * (wrong.x0 - x0) ** 2
    assert torch.allclose(wrong.error(x0, noise) ** 2, expected, rtol=1e-6)


# Guidance.

WIDE = ring(0.7, 0.25, (0.4, 0.3, 0.2, 0.1))


class Counting(ClosedFormDenoiser):
    """The ideal network, which remembers how many rows each call had."""

    def __init__(self, path: Path, kind: PredictionType, conditional: bool = True) -> None:
        super().__init__(WIDE, path, kind, conditional=conditional)
        self.calls: list[int] = []

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        self.calls.append(len(noised))
        return super().forward(noised, t, cond)


GUIDED: list[tuple[Path, PredictionType]] = [
    (VarianceExploding(0.02, 20.0), "edm"),
    (VP, "epsilon"),
    (VP, "v_prediction"),
    (VP, "sample"),
    (FlowMatching(), "flow"),
    (Trigonometric(), "v_prediction"),
]
every_guided = pytest.mark.parametrize(("path", "kind"), GUIDED)


def batch(path: Path) -> tuple[Tensor, Tensor, Condition]:
    generator = torch.Generator().manual_seed(5)
    t = torch.linspace(0.05, 0.95, 24, dtype=torch.float64)
    x0 = WIDE.draw(24, generator)[0].double()
    noised = path.noised(x0, torch.randn(24, 2, generator=generator, dtype=torch.float64), t)
    return noised, t, Condition.of_labels(torch.arange(24) % 4)


@every_guided
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 7.5])
def test_guidance_is_the_formula_on_x0_in_one_call(path: Path, kind: PredictionType, scale: float) -> None:
    net = Counting(path, kind)
    noised, t, cond = batch(path)
    found = Guided(net, scale)(noised, t, cond)
    assert net.calls == [48]
    with_cond, without = net(noised, t, cond), net(noised, t, Condition.of_labels(torch.full((24,), 4)))
    for view in ("x0", "noise", "velocity", "score", "flow_velocity"):
        one, other = getattr(with_cond, view), getattr(without, view)
        assert torch.allclose(getattr(found, view), other + scale * (one - other), rtol=1e-9, atol=1e-8)


@every_guided
def test_scale_one_is_the_plain_teacher_in_one_plain_call(path: Path, kind: PredictionType) -> None:
    net = Counting(path, kind)
    noised, t, cond = batch(path)
    found = Guided(net, 1.0)(noised, t, cond)
    assert net.calls == [24]
    assert torch.equal(found.x0, net(noised, t, cond).x0)


@every_guided
def test_guidance_is_continuous_at_one(path: Path, kind: PredictionType) -> None:
    net = Counting(path, kind)
    noised, t, cond = batch(path)
    plain = Guided(net, 1.0)(noised, t, cond).x0
    distances = [(Guided(net, scale)(noised, t, cond).x0 - plain).norm() for scale in (1.0001, 1.001)]
    assert 0 < distances[0] < 1e-3
    assert distances[1] / distances[0] == pytest.approx(10, rel=1e-3)


def test_guidance_without_a_null_condition_is_refused() -> None:
    net = Counting(FlowMatching(), "flow", conditional=False)
    noised, t, cond = batch(net.path)
    with pytest.raises(ValueError, match="no unconditional mode, so its guidance scale must stay 1"):
        Guided(net, 2.0)(noised, t, cond)
    assert Guided(net, 1.0)(noised, t, cond).x0.shape == (24, 2)


def test_an_unconditional_batch_is_its_own_null() -> None:
    net = Counting(FlowMatching(), "flow")
    noised, t, _ = batch(net.path)
    none = Condition.none(24)
    assert torch.allclose(Guided(net, 3.0)(noised, t, none).x0, net(noised, t, none).x0)


def test_gradients_flow_through_guidance() -> None:
    net = Counting(FlowMatching(), "flow")
    noised, t, cond = batch(net.path)
    noised.requires_grad_(True)
    (gradient,) = torch.autograd.grad(Guided(net, 2.0)(noised, t, cond).x0.sum(), noised)
    assert (gradient != 0).any(1).all()


# What wraps a network.


def test_edm_and_its_path_go_together() -> None:
    for path, kind in [(VP, "edm"), (VarianceExploding(), "epsilon"), (FlowMatching(), "edm")]:
        with pytest.raises(ValueError, match="go together"):
            Denoiser(MLP(), path, kind)  # type: ignore[arg-type]


def test_edm_scales_its_input_and_any_network_is_told_diffusers_time() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Seeing(MLP):
        def forward(self, x: Tensor, time: Tensor, cond: Condition) -> Tensor:
            seen.append((x, time))
            return x

    noised, t = torch.ones(2, 2), torch.tensor([0.3, 0.9], dtype=torch.float64)
    path = VarianceExploding()
    Denoiser(Seeing(), path, "edm", sigma_data=0.7)(noised, t, Condition.none(2))
    sigma = path.sigma(t)
    assert torch.allclose(seen[0][0].double(), ((sigma**2 + 0.49) ** -0.5)[:, None].expand(2, 2))
    assert torch.allclose(seen[0][1], sigma.log() / 4)
    Denoiser(Seeing(), VP, "epsilon")(noised, t, Condition.none(2))
    assert torch.equal(seen[1][0], noised)
    assert torch.allclose(seen[1][1], t * 999)


def test_a_copy_is_trainable_and_apart() -> None:
    net = Denoiser(MLP(classes=3), FlowMatching(), "flow").frozen()
    twin = net.copy()
    assert all(p.requires_grad for p in twin.parameters())
    assert not any(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert not torch.equal(next(twin.parameters()), next(net.parameters()))


def unet(**settings: Any) -> UNet2DModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2DModel(
            **{
                "sample_size": 8,
                "in_channels": 1,
                "out_channels": 1,
                "block_out_channels": (8, 16),
                "layers_per_block": 1,
                "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
                "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
                "norm_num_groups": 4,
                "attention_head_dim": 8,
                **settings,
            }
        )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_class_embeds": 5},
        {"center_input_sample": True},
        {"mid_block_type": None},
        {
            "in_channels": 3,  # these blocks know pictures of three colours alone
            "out_channels": 3,
            "block_out_channels": (32, 32),
            "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
            "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
            "downsample_type": "resnet",
        },
    ],
    ids=["plain", "classes", "centred", "no middle", "skip"],
)
def test_features_are_what_the_unet_computes_on_its_way(settings: dict[str, Any]) -> None:
    net = UNet2D(unet(**settings), null_label=4 if "num_class_embeds" in settings else None)
    passed: list[Tensor] = []
    blocks = [*net.unet.down_blocks, *([net.unet.mid_block] if net.unet.mid_block is not None else [])]
    for block in blocks:
        block.register_forward_hook(lambda _, __, out: passed.append(out[0] if isinstance(out, tuple) else out))
    x = torch.randn(3, *net.shape, generator=torch.Generator().manual_seed(1))
    time = torch.tensor([3.0, 500.5, 999.0], dtype=torch.float64)
    cond = Condition.of_labels(torch.tensor([0, 1, 4])) if "num_class_embeds" in settings else Condition.none(3)
    with torch.no_grad():
        net(x, time, cond)
        expected = list(passed)
        found = net.features(x, time, cond)
        both = net.with_features(x, time, cond)
    assert len(found) == len(expected) == len(blocks)
    for one, other in zip([*found, *both[1]], [*expected, *expected], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(both[0], net(x, time, cond))


@pytest.mark.parametrize("network", [MLP(2, classes=3), UNet2D(unet(num_class_embeds=4), null_label=3)])
@pytest.mark.parametrize("kind", ["flow", "epsilon"])
def test_one_pass_gives_what_two_would(network: MLP | UNet2D, kind: PredictionType) -> None:
    net, t = Denoiser(network, FlowMatching(), kind), torch.tensor([0.3, 0.9], dtype=torch.float64)
    noised = torch.randn(2, *net.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    cond = Condition.of_labels(torch.tensor([0, 2]))
    alone = [*net.features(noised, t, cond), net(noised, t, cond).x0]
    for in_graph in (True, False):
        prediction, maps = net.with_features(noised, t, cond, prediction_in_graph=in_graph)
        for one, other in zip([*maps, prediction.x0], alone, strict=True):
            assert torch.equal(one, other)
        assert prediction.x0.requires_grad == in_graph
        assert torch.is_grad_enabled()
        pulls = [torch.autograd.grad(h.sum(), noised, retain_graph=True)[0] for h in (maps[-1], alone[-2])]
        assert torch.equal(*pulls)
    with torch.no_grad():
        prediction, maps = net.with_features(noised, t, cond)
    assert not any(made.requires_grad for made in (*maps, prediction.output))


def test_a_unet_takes_its_null_label_for_an_unconditional_batch() -> None:
    x, time = torch.ones(2, 1, 8, 8), torch.full((2,), 5.0)
    net = UNet2D(unet(num_class_embeds=5), null_label=4)
    with torch.no_grad():
        none = net(x, time, Condition.none(2))
        assert torch.equal(none, net(x, time, Condition.of_labels(torch.tensor([4, 4]))))
        assert not torch.equal(none, net(x, time, Condition.of_labels(torch.tensor([0, 0]))))
    with pytest.raises(ValueError, match="needs a class label"):
        UNet2D(unet(num_class_embeds=5))(x, time, Condition.none(2))
    plain = UNet2D(unet())
    with torch.no_grad():
        assert torch.equal(plain(x, time, Condition.of_labels(torch.tensor([0, 1]))), plain(x, time, Condition.none(2)))


def test_unused_time_frequencies_stay_unused() -> None:
    net = Denoiser(UNet2D(unet()), FlowMatching(), "flow")
    weight = net.network.unet.time_embedding.linear_1.weight  # type: ignore[union-attr]
    assert all(p.requires_grad for p in net.copy().parameters())
    with torch.no_grad():
        weight[:, 2] = 0  # type: ignore[operator]
    fixed = [name for name, p in net.copy().named_parameters() if not p.requires_grad]
    assert fixed == ["network.unet.time_embedding.linear_1.weight"]
