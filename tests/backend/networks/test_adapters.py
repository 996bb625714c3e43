"""Adapters on a shared base: what is shared, what learns, what is kept of them, and that a run of them comes back."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor

from backend import checkpoints
from backend.assembly import load_student, start_run
from backend.contract import launch
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.networks import Condition, Denoiser
from backend.networks.adapters import adapted, load_own_state, merged, own_state, shared_copy, with_adapters
from backend.networks.mlp import MLP
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching
from backend.samplers import normal, sample
from backend.train import Run, average_of, train

RANK = 2
LORA = {"student": {"kind": "lora", "fake_score": "lora", "rank": 4}}


def u_net() -> Denoiser:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=4,
    )  # fmt: skip
    return Denoiser(UNet2D(unet, null_label=3), FlowMatching(), "flow").frozen()


def mlp() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLP(width=16), FlowMatching(), "flow").frozen()


bases = pytest.mark.parametrize("make", [u_net, mlp])


def answer(net: Denoiser, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    noised, t = normal((3, *net.shape), generator).to(dtype), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    return net(noised, t, Condition.of_labels(torch.tensor([0, 1, 2]))).output  # type: ignore[no-any-return]


def trained(base: Denoiser, rank: int = RANK, alpha: int | None = None) -> Denoiser:
    """A twin whose adapters do something."""
    twin = with_adapters(base, rank, alpha)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return twin


# The network


@bases
def test_it_starts_as_the_base_and_then_need_not_stay_it(make: Callable[[], Denoiser]) -> None:
    base = make()
    assert torch.equal(answer(with_adapters(base, RANK)), answer(base))
    assert (answer(trained(base)) - answer(base)).abs().max() > 1e-3


@bases
def test_the_base_is_held_once_and_never_moves(make: Callable[[], Denoiser]) -> None:
    base = make()
    before, mine = answer(base), {p.data_ptr() for p in base.parameters()}
    twins = [trained(base), with_adapters(base, RANK)]
    for twin in twins:
        frozen = [p for p in twin.parameters() if not p.requires_grad]
        assert {p.data_ptr() for p in frozen} == mine
        assert mine.isdisjoint(p.data_ptr() for p in twin.parameters() if p.requires_grad)
    own = [{p.data_ptr() for p in twin.parameters() if p.requires_grad} for twin in twins]
    assert own[0].isdisjoint(own[1])
    assert torch.equal(answer(base), before)


@bases
def test_only_adapters_are_trained_and_each_of_them_is(make: Callable[[], Denoiser]) -> None:
    twin = trained(make())
    assert {name for name, p in twin.named_parameters() if p.requires_grad} == {
        name for name, _ in twin.named_parameters() if ".lora_A." in name or ".lora_B." in name
    }
    answer(twin).square().sum().backward()
    assert adapted(twin)
    for name, parameter in twin.named_parameters():
        assert (parameter.grad is not None) == (".lora_" in name), name


def test_layers_no_wider_than_the_rank_and_what_the_network_keeps_fixed_have_no_adapter() -> None:
    base = u_net()
    weight = dict(base.named_parameters())["network.unet.time_embedding.linear_1.weight"]
    weight.data[:, ::2] = 0  # so that no student may fill these columns
    twin = with_adapters(base, RANK)
    found = adapted(twin)
    names = {name for name, module in twin.named_modules() if any(module is layer for layer in found)}
    assert "network.unet.mid_block.resnets.0.conv1" in names
    assert "network.unet.time_embedding.linear_1" not in names
    assert "network.unet.conv_in" not in names  # of one channel
    assert all(layer.r["default"] == RANK for layer in found)


@bases
@pytest.mark.parametrize("alpha", [None, 8])
def test_merged_it_is_the_same_network_without_adapters(make: Callable[[], Denoiser], alpha: int | None) -> None:
    twin = trained(make(), RANK, alpha).double()  # so that what differs is not rounding
    before = answer(twin)
    whole = merged(twin)
    assert not adapted(whole)
    assert whole.state_dict().keys() == make().state_dict().keys()
    torch.testing.assert_close(answer(whole), before, rtol=0, atol=1e-6)
    assert torch.equal(answer(twin), before)  # which it left alone


def test_alpha_is_the_size_of_what_the_adapters_add() -> None:
    base = mlp()
    one, four = (merged(trained(base, RANK, alpha)) for alpha in (RANK, 4 * RANK))
    for plain, small, large in zip(base.parameters(), one.parameters(), four.parameters(), strict=True):
        torch.testing.assert_close(large - plain, 4 * (small - plain), rtol=1e-4, atol=1e-6)


# What is kept of it


@bases
def test_its_own_state_is_small_and_goes_into_another_twin(make: Callable[[], Denoiser]) -> None:
    base = make()
    twin, other = trained(base), with_adapters(base, RANK)
    state = {name: tensor.clone() for name, tensor in own_state(twin).items()}
    assert all(".lora_" in name for name in state)
    load_own_state(other, state)
    assert torch.equal(answer(other), answer(twin))
    whole = own_state(base)
    assert whole.keys() == base.state_dict().keys()
    with pytest.raises(RuntimeError, match="another architecture"):
        load_own_state(other, whole)
    with pytest.raises(RuntimeError, match="another architecture"):
        load_own_state(shared_copy(base), state)


@bases
def test_numbers_that_it_is_told_are_its_own_and_the_labels_stay_the_bases(make: Callable[[], Denoiser]) -> None:
    base = make()
    twin = with_adapters(base, RANK).extended("sign")
    own = {name for name, p in twin.named_parameters() if p.requires_grad}
    assert own == own_state(twin).keys()
    assert any(".numbers." in name for name in own)
    other = with_adapters(base, RANK).extended("sign")
    load_own_state(other, {name: torch.randn_like(tensor) for name, tensor in own_state(twin).items()})
    assert {p.data_ptr() for p in base.parameters()} <= {p.data_ptr() for p in twin.parameters()}


def test_an_average_shares_the_base_too() -> None:
    base = u_net()
    twin = trained(base)
    average = average_of(twin)
    # Products of what has a gradient are folded otherwise, and on some processors rounded otherwise.
    assert torch.equal(answer(average), answer(copy.deepcopy(twin).requires_grad_(False)))
    assert not any(p.requires_grad for p in average.parameters())
    shared = {p.data_ptr() for p in base.parameters()}
    assert shared <= {p.data_ptr() for p in average.parameters()}
    learning = {p.data_ptr() for p in twin.parameters() if p.requires_grad}
    assert learning.isdisjoint(p.data_ptr() for p in average.parameters())


# A run of them


def started(lab: Any, steps: int = 0, method: str = "dmd2", **more: Any) -> Run:
    run = start_run(Recipe.from_values({**lab.recipe(method, steps=100), **LORA, **more}))
    go_on(run, steps)
    return run


def go_on(run: Run, steps: int) -> None:
    for _, _ in zip(range(steps), train(run), strict=False):
        pass


@pytest.mark.parametrize("method", ["dmd2", "twinflow"])
def test_a_run_is_saved_small_and_goes_on_bit_exactly(lab: Any, tmp_path: Path, method: str) -> None:
    one = started(lab, 3, method)
    checkpoints.save(one, tmp_path / "lora.safetensors")
    other = started(lab, 1, method)
    checkpoints.load(other, tmp_path / "lora.safetensors")
    go_on(one, 2)
    expected = {name: {k: v.clone() for k, v in own_state(net).items()} for name, net in one.modules().items()}
    go_on(other, 2)
    for name, net in other.modules().items():
        for key, value in own_state(net).items():
            assert torch.equal(value, expected[name][key]), f"{name} {key}"
    full = start_run(Recipe.from_values(lab.recipe(method)))
    go_on(full, 3)
    checkpoints.save(full, tmp_path / "full.safetensors")
    assert (tmp_path / "lora.safetensors").stat().st_size < 0.7 * (tmp_path / "full.safetensors").stat().st_size
    assert checkpoints.size(one) == pytest.approx((tmp_path / "lora.safetensors").stat().st_size, rel=0.2)


def test_student_and_fake_score_hang_on_one_base_and_the_teacher_stays_as_it_was(lab: Any) -> None:
    run = started(lab)
    before = {name: tensor.clone() for name, tensor in run.teacher.denoiser.state_dict().items()}
    go_on(run, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.teacher.denoiser.state_dict().items())
    base = {p.data_ptr() for p in run.teacher.denoiser.parameters()}
    for net in (run.student, run.nets.fake_score):
        assert base == {p.data_ptr() for p in net.parameters() if not p.requires_grad}
        assert any(bool(p.count_nonzero()) for name, p in net.named_parameters() if ".lora_B." in name)


@pytest.mark.usefixtures("in_process")
def test_a_finished_run_gives_its_student_back(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "lora.distill"
    values = {**lab.recipe(steps=3, preview_every=0, checkpoint_every=3), **LORA}
    with ProjectFile.create(path) as project:
        number = project.add_run(Recipe.from_values(values))
    launch.start_worker(path, number)
    with ProjectFile.open(path, readonly=True) as project:
        student = load_student(project, number)
    again = start_run(Recipe.from_values(values))
    go_on(again, 3)
    noise, cond = normal((4, *again.student.shape), torch.Generator().manual_seed(0)), again.teacher.each_condition(4)
    one, other = (
        sample(net, student.sampler, noise, cond, torch.Generator().manual_seed(1))
        for net in (student.denoiser, again.average)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, sample(again.teacher.denoiser, student.sampler, noise, cond, torch.Generator()))
