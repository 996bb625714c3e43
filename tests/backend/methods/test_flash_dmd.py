"""Flash-DMD's first stage against answers known without it: which step learns from what, and who follows whom."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from backend.contract.recipe import RecipeError
from backend.contract.settings import problems
from backend.methods import Batch, dmd2, flash_dmd
from backend.methods.flash_dmd import Settings
from backend.networks import Condition, Guided
from backend.networks.adapters import with_adapters
from backend.teachers import Teacher


def batch_at(index: int, step: int = 1) -> Batch:
    """A batch whose draws of a student's step all give `index`."""
    generator = torch.Generator().manual_seed(step)
    real = torch.randn(4, 2, generator=generator)
    cond = Condition.none(4)
    batch = Batch(step, 8, cond, (2,), generator, torch.device("cpu"), real_samples=real, real_cond=cond)
    object.__setattr__(batch, "index", lambda count: index)
    return batch


@pytest.mark.parametrize(("index", "term"), [(0, "matching"), (1, "matching"), (2, "gan"), (3, "gan")])
def test_noisy_steps_learn_from_the_teacher_alone_and_clean_ones_from_data_alone(
    index: int, term: str, untrained: Callable[[str], Teacher]
) -> None:
    nets, asked = flash_dmd.build(untrained("edm"), Settings()), list[object]()
    nets.teacher.register_forward_hook(lambda net, given, made: asked.append(net))
    updates = list(flash_dmd.step(nets, batch_at(index), Settings()))
    assert [list(update.losses) for update in updates] == [[term], ["fake_score"], ["discriminator"]]
    assert bool(asked) == (term == "matching")
    assert [update.net for update in updates] == [nets.student, nets.fake_score, nets.discriminator]


def test_the_fake_score_is_drawn_to_the_student_at_its_turns_alone(untrained: Callable[[str], Teacher]) -> None:
    s = Settings(kept_share=0.99, fake_score_updates=2)
    nets = flash_dmd.build(untrained("flow"), s)
    for step in range(2):
        before = [p.detach().clone() for p in nets.fake_score.parameters()]
        for update in flash_dmd.step(nets, batch_at(0, step), s):
            if update.net is nets.student:
                with torch.no_grad():  # as if its optimizer had moved it by 1
                    for p in nets.student.parameters():
                        p.add_(1)
        moved = [float((p.detach() - old).mean()) for p, old in zip(nets.fake_score.parameters(), before, strict=True)]
        assert moved == pytest.approx([0.01 if step == 0 else 0.0] * len(moved), abs=1e-6)


def test_the_noisy_term_is_dmd2s(untrained: Callable[[str], Teacher]) -> None:
    teacher = untrained("edm")
    mine = flash_dmd.build(teacher, Settings())
    theirs = dmd2.Nets(Guided(teacher.denoiser, 1), mine.student, mine.fake_score, mine.discriminator)
    x = torch.randn(4, 2)
    (terms, metrics), (others, found) = (
        flash_dmd.matching(mine, x, batch_at(0), Settings()),
        dmd2.matching(theirs, x, batch_at(0), dmd2.Settings()),
    )
    assert torch.equal(terms["matching"], others["matching"])
    assert metrics == found


def test_what_does_not_go_together_is_refused(untrained: Callable[[str], Teacher]) -> None:
    assert "lower clean_steps" in problems(Settings, {"student_steps": 2, "clean_steps": 2})[0]
    teacher = untrained("edm")
    teacher = replace(teacher, auxiliary=lambda: with_adapters(teacher.trainable(), 2))
    with pytest.raises(RecipeError, match="set kept_share to 1"):
        flash_dmd.build(teacher, Settings())
    flash_dmd.build(teacher, Settings(kept_share=1))
