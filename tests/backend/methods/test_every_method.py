"""What holds for every method, found by listing the folder: a new one is tested here without an edit."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from backend.contract.recipe import Pairs, RecipeError, Training
from backend.contract.settings import Settings, problems
from backend.datasets import ImageSet
from backend.methods import Batch, Method, Update, load_method, method_names
from backend.networks import Denoiser
from backend.networks.adapters import own_state
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving, linear_betas
from backend.samplers import Sampler, sample
from backend.stores import PairStore, Source, make
from backend.teachers import Data, Teacher, load_teacher
from backend.teachers.mixture_2d import paths
from backend.train import Run, start, train

from ..teachers import tiny

METHODS = method_names()
MIXTURES = tuple(paths())
UNETS = ("edm", "epsilon", "v_prediction", "flow")
CPU = torch.device("cpu")
FEW_STEPS, MANY_STEPS = 4, 100
"""Of a student, for which each is an evaluation of its network or even an update."""

every_method = pytest.mark.parametrize("name", METHODS)


@cache
def unet_teacher(kind: str) -> Teacher:
    """A random U-Net for 8x8 pictures of three classes; label 3 is none. It comes with data of its own."""
    vp = VariancePreserving.of_betas(linear_betas())
    path = {"edm": VarianceExploding(0.02, 20.0), "flow": FlowMatching()}.get(kind, vp)
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=4,
    )  # fmt: skip
    net = Denoiser(UNet2D(unet, null_label=3), path, kind, 0.5).frozen()  # type: ignore[arg-type]
    data = ImageSet.of(torch.rand(32, 1, 8, 8) * 2 - 1, torch.arange(32) % 3, ("a", "b", "c"))
    return Teacher("tiny", "Tiny", net, net.copy, "0", labels=("a", "b", "c"), draws=data)


def begin(name: str, teacher: Teacher, steps: int, settings: dict[str, Any] | None = None, **training: Any) -> Run:
    method = load_method(name)
    s = method.settings.model_validate(settings or {})
    values = {**method.training, "batch_size": 4, **training, "steps": steps}
    asked = Training.model_validate(values)
    pairs = few_pairs(method, s, teacher) if "pairs" in method.needs(s) else None
    return start(method, s, asked, teacher, teacher.draws, CPU, pairs)


def few_pairs(method: Method[Any, Any], s: Settings, teacher: Teacher) -> PairStore:
    source = Source(teacher.denoiser, teacher, teacher.digest, method.sampler(s, teacher.denoiser).levels[0])
    return make(source, Pairs(count=16, steps=2), CPU)


def mixture(name: str, kind: str, untrained: Callable[..., Teacher]) -> Teacher:
    """With its modes as classes where the method tells the student a guidance scale, as without there is no guidance,
    and where it takes no teacher without classes."""
    method = load_method(name)
    s, teacher = method.settings(), untrained(kind)
    try:
        method.new_student(teacher, s)
    except RecipeError:
        return untrained(kind, classes=True)
    return untrained(kind, classes="guidance" in method.inputs(s))


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@dataclass
class Watched:
    """A run whose updates are checked one by one as they are applied; the names they gave, and what changed."""

    run: Run
    named: set[str]
    changed: set[str]

    @classmethod
    def of(cls, run: Run) -> "Watched":
        watched = cls(run, set(), set())
        run.method = replace(run.method, step=watched._step(run.method.step))
        return watched

    def nets(self) -> dict[str, nn.Module]:
        return {f.name: getattr(self.run.nets, f.name) for f in fields(self.run.nets)}

    def _step(self, step: Callable[..., Iterator[Update]]) -> Callable[..., Iterator[Update]]:
        def watched(nets: Any, batch: Batch, s: Settings) -> Iterator[Update]:
            for update in step(nets, batch, s):
                before = {name: state(net) for name, net in self.nets().items()}
                yield update  # and it is applied
                changed = {name for name, net in self.nets().items() if not same(before[name], state(net))}
                named = {name for name, net in self.nets().items() if any(net is one for one in update.nets)}
                assert changed <= named
                assert named <= set(self.run.optimizers)
                self.named |= named
                rest = [net for name, net in self.nets().items() if name not in self.named]
                assert not any(p.grad is not None for net in rest for p in net.parameters())
                self.changed |= changed

        return watched


def run_and_check(run: Run) -> Watched:
    """All steps of a short run: only named networks change, the teacher never, all numbers are finite, samples come."""
    watched, teacher = Watched.of(run), run.teacher
    before = state(teacher.denoiser)
    for progress in train(run):
        for metric, value in progress.metrics.items():
            assert isinstance(value, Tensor)
            assert value.isfinite(), metric
    assert run.step == run.training.steps
    assert not any(p.grad is not None for net in watched.nets().values() for p in net.parameters())
    assert same(before, state(teacher.denoiser))
    assert "student" in watched.named
    for net in (run.student, run.average):
        assert samples(run, net, 6).isfinite().all()
    return watched


def samples(run: Run, net: Denoiser, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(n, *net.shape, generator=generator)
    made = sample(net, run.sampler, noise, run.teacher.each_condition(n), generator)
    assert made.shape == (n, *net.shape)
    return made


def ends(settings: type[Settings]) -> Iterator[dict[str, Any]]:
    """Each setting at its lowest, its highest and each of its choices, the others as they are.

    But for the steps of a student that takes many, which is only long: there it takes few.
    """
    properties = settings.model_json_schema()["properties"]
    is_long = properties.get("student_steps", {}).get("default", 0) > FEW_STEPS
    few = {"student_steps": FEW_STEPS} if is_long else {}
    for name, declared in properties.items():
        values = declared.get("enum", []) + [declared[end] for end in ("minimum", "maximum") if end in declared]
        values += [True, False] if declared["type"] == "boolean" else []
        yield from (few | {name: value} for value in values if value != declared["default"])


@every_method
@pytest.mark.parametrize("kind", MIXTURES)
def test_runs_on_every_kind_of_mixture(name: str, kind: str, untrained: Callable[[str], Teacher]) -> None:
    watched = run_and_check(begin(name, mixture(name, kind, untrained), steps=3))
    assert watched.changed == watched.named


@every_method
@pytest.mark.parametrize("kind", UNETS)
def test_runs_on_a_u_net_with_classes(name: str, kind: str) -> None:
    watched = run_and_check(begin(name, unet_teacher(kind), steps=2))
    assert watched.changed == watched.named


@pytest.fixture(scope="module")
def prompted(tiny_model: Callable[[str], Path]) -> Callable[[str], Teacher]:
    """prompted(model): a text-to-image teacher with latents of its own as data."""

    @cache
    def of(model: str) -> Teacher:
        teacher = load_teacher(str(tiny_model(model)), prompts=tiny.PROMPTS)
        data = ImageSet.of(torch.rand(8, *teacher.data_shape) * 2 - 1, torch.arange(8) % 3, tiny.PROMPTS)
        return replace(teacher, draws=data)

    return of


@every_method
@pytest.mark.parametrize("model", ["sd", "sd3-without-t5"])
def test_runs_on_latents_with_prompts(name: str, model: str, prompted: Callable[[str], Teacher]) -> None:
    run_and_check(begin(name, prompted(model), steps=2, batch_size=2))


@every_method
def test_runs_with_each_setting_at_its_ends_and_trains_every_network(
    name: str, untrained: Callable[..., Teacher]
) -> None:
    method = load_method(name)
    trained: set[str] = set()
    for changed in ends(method.settings):
        if problems(method.settings, changed):
            continue  # two settings that must fit together
        is_long = changed.get("student_steps", 0) > MANY_STEPS
        teacher = mixture(name, "edm", untrained) if is_long else unet_teacher("edm")
        try:
            run = begin(name, teacher, steps=2, settings=changed)
        except RecipeError:
            continue  # refused on a network as small as this one
        trained |= run_and_check(run).changed
        assert method.cost(run.settings) > 0
        assert set(method.needs(run.settings)) <= {"real data", "pairs"}
    assert trained == set(run.optimizers)


@every_method
def test_runs_without_data_where_none_is_needed(name: str, untrained: Callable[[str], Teacher]) -> None:
    run = begin(name, mixture(name, "edm", untrained), steps=2)
    run.data = run.pairs = None
    if run.method.needs(run.settings):
        with pytest.raises(ValueError, match=r"real data|pairs"):
            list(train(run))
    else:
        list(train(run))


@every_method
def test_the_student_starts_as_the_teacher(name: str) -> None:
    teacher = unet_teacher("v_prediction")
    run = begin(name, teacher, steps=1)
    noised, t = torch.randn(3, *teacher.denoiser.shape), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    for net in (run.student, run.average):
        for label in range(3):  # one for the whole batch: batches of other sizes are rounded otherwise
            cond = teacher.condition_of(torch.full((3,), label))
            expected = teacher.denoiser(noised, t, cond).output
            for number in net.inputs:
                cond = cond.with_part(number, torch.rand(3))
            assert torch.equal(net(noised, t, cond).output, expected)
        own = {p.data_ptr() for name, p in net.named_parameters() if name in own_state(net)}  # adapters share the base
        assert own.isdisjoint(p.data_ptr() for p in teacher.denoiser.parameters())


@every_method
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_goes_on_identically(
    name: str, stop: int, untrained: Callable[[str], Teacher], continued: Callable[[Run], Run]
) -> None:
    def numbers(run: Run) -> list[dict[str, float]]:
        return [{key: float(value) for key, value in p.metrics.items()} for p in train(run)]  # type: ignore[arg-type]

    def new() -> Run:
        return begin(name, mixture(name, "epsilon", untrained), steps=23, warmup_steps=4)

    whole, first = new(), new()
    expected = numbers(whole)
    going = train(first)
    for _ in range(stop):
        next(going)
    torch.rand(17)  # the global random state is no part of a run
    second = continued(first)
    assert numbers(second) == expected[stop:]
    for key, net in whole.modules().items():
        assert same(state(net), state(second.modules()[key])), key


@every_method
def test_its_card_is_filled_in(name: str) -> None:
    method: Method[Any, Any] = load_method(name)
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", method.paper)
    assert method.title
    assert method.summary.endswith(".")
    assert not problems(Training, dict(method.training))
    assert not problems(method.settings, {})
    defaults = method.settings()
    assert method.settings.model_validate_json(defaults.model_dump_json()) == defaults
    for field, declared in method.settings.model_json_schema()["properties"].items():
        assert declared.get("description"), field
    net = unet_teacher("edm").denoiser
    chosen = method.sampler(defaults, net)
    assert method.sampler_after(100, 100, defaults, net) == chosen
    assert Sampler.from_json(chosen.to_json()) == chosen


@every_method
def test_unknown_settings_are_refused(name: str) -> None:
    assert problems(load_method(name).settings, {"no_such_setting": 1})


def test_data_is_what_the_tests_say() -> None:
    data: Data | None = unet_teacher("edm").draws
    assert data is not None
    samples, labels = data.draw(5, torch.Generator().manual_seed(0))
    assert samples.shape == (5, 1, 8, 8)
    assert labels.shape == (5,)


@pytest.mark.parametrize(
    ("name", "terms", "settings"),
    [
        ("snoopi", {"matching"}, {"rank": 2}),
        ("phased_dmd", {"matching"}, {}),
        ("phased_dmd", {"matching"}, {"weighting": "score"}),
        ("twinflow", {"rectification"}, {}),
        ("acd", {"consistency", "gan"}, {}),
        ("consistency", {"consistency", "embedding"}, {"embedding_weight": 0.1}),
    ],
)
def test_how_hard_each_term_pulls_at_the_samples_is_told(
    name: str, terms: set[str], settings: dict[str, Any], untrained: Callable[..., Teacher]
) -> None:
    """At the first step, and of a network that is not yet right."""
    run = begin(name, mixture(name, "flow", untrained), 1, settings)
    with torch.no_grad():
        for parameter in run.student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    (progress,) = train(run)
    assert {f"{term}_on_sample" for term in terms} <= progress.metrics.keys()
    assert all(float(progress.metrics[f"{term}_on_sample"]) > 0 for term in terms)  # type: ignore[arg-type]
