"""LoRA-enhanced guidance distillation: what is trained, what it is taught, and that it takes little memory."""

import pytest
import torch
from torch import Tensor, nn

from backend.assembly import start_run
from backend.contract.recipe import Recipe, Training
from backend.methods import load_method
from backend.methods.lora_guidance import METHOD, Settings, sampler
from backend.networks.adapters import merged, own_parameters, own_state
from backend.teachers import Teacher
from backend.train import Run, start, train

from .test_every_method import unet_teacher

CPU = torch.device("cpu")


def trained(teacher: Teacher, name: str = "lora_guidance", steps: int = 3, **settings: object) -> Run:
    method = load_method(name)
    s = method.settings.model_validate(settings)
    run = start(method, s, Training(steps=steps, batch_size=4, ema_decay=0.9), teacher, teacher.draws, CPU)
    list(train(run))
    return run


def held(run: Run) -> int:
    """Bytes between two steps and for the gradients: networks, average, moments; what is shared counts once."""
    nets: list[nn.Module] = [run.nets.teacher.denoiser, *run.modules().values()]
    found = {p.data_ptr(): p for net in nets for p in net.parameters()}
    moments = [m for o in run.optimizers.values() for state in o.state.values() for m in state.values()]
    trained = [p for p in run.student.parameters() if p.requires_grad]
    return sum(t.numel() * t.element_size() for t in (*found.values(), *moments, *trained) if isinstance(t, Tensor))


@pytest.mark.parametrize("told", [True, False])
def test_adapters_alone_learn_and_are_merged_without_a_trace(told: bool) -> None:
    teacher = unet_teacher("flow")
    before = {name: value.clone() for name, value in teacher.denoiser.state_dict().items()}
    run = trained(teacher, told=told, rank=2)
    assert all(torch.equal(value, before[name]) for name, value in teacher.denoiser.state_dict().items())
    assert any(p.abs().max() > 0 for p in own_parameters(run.student)[1::2])
    assert any(".numbers." in name for name in own_state(run.student)) == told
    cond = teacher.each_condition(3)
    if told:
        cond = cond.with_part("guidance", torch.full((3,), 2.0))
    noised, t = torch.randn(3, *run.student.shape), torch.tensor([0.1, 0.5, 0.9]).double()
    torch.testing.assert_close(
        merged(run.student)(noised, t, cond).output, run.student(noised, t, cond).output, rtol=0, atol=1e-4
    )


def test_at_one_scale_it_is_taught_by_the_teacher_under_that_scale_and_told_nothing() -> None:
    s = Settings(told=False, guidance_scale=2.0, rank=2)
    teacher = unet_teacher("flow")
    nets = METHOD.build(teacher, s)
    assert nets.teacher.scale == 2.0
    assert nets.student.inputs == METHOD.inputs(s) == ()
    assert sampler(s, nets.student).guidance is None
    told = Settings(guidance_scale=2.0, rank=2)
    nets = METHOD.build(teacher, told)
    assert nets.teacher.scale is None
    assert nets.student.inputs == METHOD.inputs(told) == ("guidance",)
    assert sampler(told, nets.student).guidance == 2.0


def test_it_holds_less_than_three_fifths_of_what_the_whole_student_takes() -> None:
    teacher = unet_teacher("flow")
    share = held(trained(teacher, rank=1)) / held(trained(teacher, "guidance"))
    assert share < 0.6


@pytest.mark.long
def test_on_a_text_to_image_teacher_as_much_is_saved_as_the_rank_says() -> None:
    def mebibytes(method: str, **settings: object) -> float:
        training = {"steps": 1, "batch_size": 4, "ema_decay": 0.9}
        asked = {"teacher": "emoji", "method": method, "settings": settings, "training": training}
        run = start_run(Recipe.from_values(asked))
        list(train(run))
        return held(run) / 2**20

    whole, some, few = mebibytes("guidance"), mebibytes("lora_guidance"), mebibytes("lora_guidance", rank=4)
    print(f"the whole network {whole:.1f} MiB, adapters {some:.1f}, of rank 4 {few:.1f}")
    assert few < some < 0.6 * whole
