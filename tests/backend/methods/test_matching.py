"""What holds for the matching gradient of every method that has one: where it is nought, and what it depends on."""

import importlib
import itertools
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend import losses
from backend.methods import Batch, f_distill, load_method, rcm, tdm, uni_dad
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.noise import Path, per_sample
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, Mixture, fit, paths

CPU = torch.device("cpu")
KINDS = tuple(paths())
MOVED = Mixture(MIXTURE.means * 0.9 + 0.05, MIXTURE.weights, 0.1)


@dataclass(frozen=True)
class Told(Batch):
    """A batch that says at what noise over data scores are compared, (B,), if any, and always draws as many numbers.

    span: the times between which the method puts what it draws from 0 to 1.
    """

    ratio: Tensor | None = None
    path: Path | None = None
    span: tuple[float, float] = (0.0, 1.0)

    def times(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = super().times(low, high)
        if self.ratio is None or high > 1:  # a guidance scale
            return drawn
        assert self.path is not None
        return (self.path.t_of_ratio(self.ratio) - self.span[0]) / (self.span[1] - self.span[0])

    def index(self, count: int) -> int:
        """The first, which in Flash-DMD is one that is matched."""
        return 0

    def indices(self, count: int) -> Tensor:
        return torch.arange(len(self.cond)) % count


class Fixed(nn.Module):
    """A student that makes the same samples whatever its noise."""

    def __init__(self, like: Denoiser, x: Tensor) -> None:
        super().__init__()
        self.path, self.prediction_type, self.inputs = like.path, like.prediction_type, ()
        self.x = nn.Parameter(x)

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        return Prediction(noised, self.x, t, self.path, "sample")


class Seen(nn.Module):
    """Feature maps that are the noised samples, in a scale that is the same on every path."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def features(self, noised: Tensor, t: Tensor, cond: Condition) -> list[Tensor]:
        alpha, sigma = self.path.level(t)
        return [noised / per_sample((alpha**2 + sigma**2).sqrt(), noised)]


OWN: dict[str, dict[str, Any]] = {
    "uni_dad": {"target_weight": 0.0},
    "flash_dmd": {"student_steps": 2, "clean_steps": 1},
    "decoupled_dmd": {"student_steps": 1},
    "tdm": {"student_steps": 1},
    "phased_dmd": {"student_steps": 1, "phases": 1},
    "f_distill": {"warm_up_steps": 0, "bins": 1},
}
"""Settings with which a student of `Fixed` samples is matched at the first step, where it makes clean samples."""
METHODS = [
    "dmd2", "gndm", "flash_dmd", "uni_dad", "decoupled_dmd", "f_distill", "tdm", "phased_dmd", "swiftbrush", "snoopi",
    "sid", "rcm",
]  # fmt: skip
every_method = pytest.mark.parametrize("name", METHODS)


def guided(name: str, scale: float) -> dict[str, Any]:
    """The settings that give a method this guidance scale."""
    names = ["lowest_guidance", "highest_guidance"] if name == "snoopi" else ["guidance_scale"]
    return dict.fromkeys(names, scale)


def made(name: str, teacher: Denoiser, fake: Denoiser, x: Tensor, **settings: Any) -> tuple[Any, Any]:
    """Networks of that method whose student makes x (B, 2), and settings."""
    method = load_method(name)
    s = method.settings.model_validate({**OWN.get(name, {}), **settings})
    torch.manual_seed(0)
    discriminator = f_distill.Discriminator([torch.zeros(1, 2)], bins=1)
    discriminator.heads.to(x.dtype)
    with_scale = Guided(teacher, None if name == "snoopi" else getattr(s, "guidance_scale", 1.0))
    parts: dict[str, nn.Module] = {
        "teacher": teacher if name == "decoupled_dmd" else with_scale, "student": Fixed(teacher, x),
        "fake_score": fake, "features": Seen(teacher.path), "discriminator": discriminator, "target": teacher,
    }  # fmt: skip
    kind = importlib.import_module(method.build.__module__).Nets
    return kind(**{field.name: parts.get(field.name) for field in fields(kind)}), s


def pulls(name: str, nets: Any, s: Any, of: Batch) -> Tensor:
    """Where the method pulls each of the student's samples, as if it were alone, (B, 2)."""
    x: Tensor = nets.student.x
    if name == "uni_dad":
        term = uni_dad.matching(nets, x, of.cond, of, s)[0]["matching"]
    elif name == "rcm":
        term, _ = rcm.matching(nets, x, of, s)
    else:
        key = "score_identity" if name == "sid" else "matching"
        term = next(u.losses[key] for u in load_method(name).step(nets, of, s) if key in u.losses)
    (gradient,) = torch.autograd.grad(term, x)
    return gradient * x.numel()


def batch(cond: Condition, ratio: Tensor | None = None, path: Path | None = None, **more: Any) -> Told:
    generator = torch.Generator().manual_seed(2)
    return Told(0, 1, cond, (2,), generator, CPU, ratio=ratio, path=path, **more)


def drawn(n: int) -> tuple[Tensor, Condition]:
    x, modes = MIXTURE.draw(n, torch.Generator().manual_seed(5))
    return x.double(), Condition.of_labels(modes)


def exact(kind: str, mixture: Mixture = MIXTURE) -> ClosedFormDenoiser:
    return ClosedFormDenoiser(mixture, *paths()[kind], conditional=True)


@pytest.mark.parametrize(
    ("name", "settings"), [*((name, {}) for name in METHODS), ("phased_dmd", {"weighting": "score"})]
)
def test_it_is_the_same_in_every_parameterisation(name: str, settings: dict[str, Any]) -> None:
    """At equal noise over data, with guidance, and with a fake score that is another's."""
    (x, cond), found = drawn(64), []
    ratio = torch.logspace(-1, 0.9, 64, dtype=torch.float64)[
        torch.randperm(64, generator=torch.Generator().manual_seed(1))
    ]
    for kind in KINDS:
        teacher = exact(kind)
        nets, s = made(name, teacher, exact(kind, MOVED), x, **guided(name, 2.0), **settings)
        if name == "sid":  # at noise over data of its own
            of = batch(cond)
        elif name == "tdm":
            begin = tdm.sampler(s, nets.student).levels[0]
            of = batch(cond, ratio, teacher.path, span=(s.lowest_time, min(s.highest_time, (1 - tdm.MARGIN) * begin)))
        else:
            of = batch(cond, ratio, teacher.path)
        found.append(pulls(name, nets, s, of))
    assert found[0].abs().max() > 1e-3
    for a, b in itertools.pairwise(found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(a.abs().max()))


@every_method
def test_a_guidance_scale_next_to_one_is_next_to_none(name: str) -> None:
    x, cond = drawn(64)
    same_noise = {"schedule": "shared"} if name == "decoupled_dmd" else {}  # or that of guidance is drawn first
    plain, nearly = (
        pulls(name, *made(name, exact("edm"), exact("edm", MOVED), x, **guided(name, scale), **same_noise), batch(cond))
        for scale in (1.0, 1.0001)
    )
    assert plain.abs().max() > 1e-3
    assert not torch.equal(plain, nearly)
    assert (plain - nearly).norm() < 1e-2 * plain.norm()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("flash_dmd", {}),
        ("f_distill", {"divergence": "reverse-kl"}),
        ("tdm", {}),
        ("tdm", {"student_steps": 4}),
        ("phased_dmd", {}),
        ("phased_dmd", {"phases": 2, "student_steps": 4}),
        ("phased_dmd", {"weighting": "score"}),
        ("rcm", {}),
    ],
)
@pytest.mark.parametrize("kind", ["edm", "flow"])
def test_guidance_adds_the_difference_that_the_condition_makes(name: str, settings: dict[str, Any], kind: str) -> None:
    (x, cond), net, scale = drawn(64), exact(kind), 3.0
    nets, s = made(name, net, net, x, **guided(name, scale), **settings)
    asked: list[Tensor] = []
    nets.teacher.register_forward_pre_hook(lambda net, given: asked.extend(given[:2]))
    found = pulls(name, nets, s, batch(cond))
    noised, t = (given.detach() for given in asked)
    null = net.null(cond)
    assert null is not None
    with_cond, without = net(noised, t, cond).x0, net(noised, t, null).x0
    counts = 1 / (x - without - scale * (with_cond - without)).abs().mean(1)
    if settings.get("weighting") == "score":
        alpha, sigma = net.path.level(t)
        counts = alpha**2 / sigma**2
    assert (with_cond - without).abs().max() > 0.1
    expected = -(scale - 1) * counts[:, None] * (with_cond - without)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7 * float(counts.max()))


@cache
def before_and_after() -> tuple[Denoiser, Denoiser]:
    """A fake score all but untrained, and the same when it has learnt real samples."""
    fake = fit(ClosedFormDenoiser(MIXTURE, *paths()["edm"]), seed=3, steps=1)
    untrained = fake.copy()
    optimizer = torch.optim.Adam(fake.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
    for seed in range(2000):
        of = Batch(0, 1, Condition.none(256), (2,), torch.Generator().manual_seed(seed), CPU)
        real, _ = MIXTURE.draw(256, of.generator)
        t, noise = of.times(), of.noise()
        loss = losses.denoising(fake(fake.path.noised(real, noise, t), t, of.cond), real, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return untrained, fake


def with_null(net: Denoiser) -> Denoiser:
    """The network with an unconditional mode, which is its only one: SNOOPI guides every network."""
    net.network.null = lambda cond: cond  # type: ignore[assignment]
    return net


@every_method
def test_a_fake_score_trained_on_real_samples_leaves_nothing_to_match(name: str) -> None:
    """On average over four times the samples that the specification asks for: of fewer, some methods' mean is mostly
    sampling error. SiD is weighed by the signal, as by the residual a few samples count most however many there are.
    """
    teacher, sizes = with_null(ClosedFormDenoiser(MIXTURE, *paths()["edm"])), []
    x, _ = MIXTURE.draw(40_000, torch.Generator().manual_seed(5))
    for fake in before_and_after():
        nets, s = made(name, teacher, with_null(fake), x, **({"weighting": "signal"} if name == "sid" else {}))
        sizes.append(float(pulls(name, nets, s, batch(Condition.none(len(x)))).mean(0).norm()))
    assert sizes[1] < sizes[0] / 10  # measured: 15 to 240 with five seeds
