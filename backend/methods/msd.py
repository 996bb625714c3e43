"""MSD: Multi-student Diffusion Distillation for Better One-step Generators, arXiv:2410.23274.

The conditions are shared out among several students, each of which is distilled for its part alone, with a fake score
network and a discriminator of its own. A condition says which student answers, so that a sample costs what one
student costs. Students may be smaller than the teacher; these first learn to denoise as it does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backend import losses
from backend.contract.settings import setting
from backend.methods import Batch, Method, Need, Preset, Update, dmd2
from backend.networks import Condition, Guided
from backend.networks.heads import Heads, example_features
from backend.networks.routed import RoutedDenoiser, RoutedHeads, partition_of
from backend.networks.smaller import narrower
from backend.teachers import Teacher


class Settings(dmd2.Settings):
    students: int = setting(2, "Students among which the classes or prompts are shared out", low=1, high=8)
    width: float = setting(
        1.0, "Width of a student's layers relative to the teacher's; 1 is the teacher's own network", low=0.04, high=1
    )
    pretraining_share: float = setting(
        0.5, "Share of the run in which students narrower than the teacher first learn to denoise as it does", low=0,
        high=0.9,
    )  # fmt: skip

    @property
    def pretrains(self) -> bool:
        """Whether the students start untrained and have a first stage to learn in."""
        return self.width < 1 and self.pretraining_share > 0


@dataclass
class Nets(dmd2.Nets):
    student: RoutedDenoiser
    fake_score: RoutedDenoiser
    discriminator: RoutedHeads

    def judged(self, maps: list[Tensor], cond: Condition) -> Tensor:
        return self.discriminator(maps[-1:], self.fake_score.network.partition(cond))  # type: ignore[no-any-return]


def new_student(teacher: Teacher, s: Settings) -> RoutedDenoiser:
    """All students as one. Raises `RecipeError` where a teacher has too little to share out or cannot be narrowed."""
    shares = partition_of(teacher, s.students)
    students = [teacher.trainable() for _ in range(s.students)]
    if s.width < 1:
        students = [narrower(student, s.width) for student in students]
    return RoutedDenoiser(students, shares)


def build(teacher: Teacher, s: Settings) -> Nets:
    student = new_student(teacher, s)
    fake_scores = [teacher.fake_score() for _ in range(s.students)]
    heads = [Heads(example_features(net, teacher.each_condition(2))[-1:]) for net in fake_scores]
    fake_score = RoutedDenoiser(fake_scores, partition_of(teacher, s.students))
    return Nets(Guided(teacher.denoiser, s.guidance_scale), student, fake_score, RoutedHeads(heads))


def pretraining_steps(total: int, s: Settings) -> int:
    """How many of the run's first steps are the first stage."""
    return int(s.pretraining_share * total) if s.pretrains else 0


def step(nets: Nets, batch: Batch, s: Settings) -> Iterator[Update]:
    before = pretraining_steps(batch.total, s)
    if batch.step < before:
        yield Update(nets.student, {"pretraining": pretraining(nets, batch)})
        return
    # Every batch holds conditions of all parts. What follows is the one-student method, in which each sample moves the
    # networks of its own part and no other: the same as students trained one after the other on batches of 1/students.
    of_stage = replace(batch, step=batch.step - before)
    if of_stage.step < s.warm_up_steps:
        of_stage = replace(of_stage, drawn_pairs=for_any_student(batch, s))
    for update in dmd2.step(nets, of_stage, s):
        yield replace(update, fresh=before > 0 and of_stage.step == 0)


def pretraining(nets: Nets, batch: Batch) -> Tensor:
    """Teacher score matching: the difference of student and teacher on noised data, weighed as when denoising is
    learnt."""
    real, cond = batch.real
    t = batch.times()
    noised = nets.teacher.path.noised(real, batch.noise(), t)
    with torch.no_grad():
        answer = nets.teacher(noised, t, cond)
    return losses.denoising(nets.student(noised, t, cond), answer.x0, answer.noise)


def for_any_student(batch: Batch, s: Settings) -> tuple[Tensor, Tensor, Condition]:
    """The batch's pairs, each for a student at random: all learn from all pairs, for the sake of coverage."""
    noise, samples, cond = batch.pairs
    return noise, samples, cond.with_part("student", batch.indices(s.students))


def needs(s: Settings) -> tuple[Need, ...]:
    found = dmd2.needs(s)
    return found if "real data" in found or not s.pretrains else ("real data", *found)


def cost(s: Settings) -> float:
    """Per step: as of one student. In the first stage a student's update and the teacher. A narrow one counts whole."""
    if not s.pretrains:
        return dmd2.cost(s)
    guided = 2 if s.guidance_scale != 1 else 1
    return (1 - s.pretraining_share) * dmd2.cost(s) + s.pretraining_share * (3 + guided)


METHOD = Method(
    title="Several students (MSD)",
    paper="arXiv:2410.23274",
    family="distribution matching",
    summary="Shares classes or prompts out among students, each for its part; as quick as one, as large as all.",
    settings=Settings,
    build=build,
    optimizers=dmd2.optimizers,
    step=step,
    sampler=dmd2.sampler,
    cost=cost,
    needs=needs,
    accumulates=dmd2.accumulates,
    student=new_student,
    training={**dmd2.METHOD.training, "steps": 1200},
    presets={
        "two-students": Preset("Two students", "Each for half of the classes or prompts; no real data needed."),
        "four-students": Preset("Four students", "Each for a quarter.", {"students": 4}, {"steps": 1800}),
        "small": Preset(
            "Four small students",
            "Of three quarters of the teacher's width, about half of its size; they first learn to denoise.",
            {"students": 4, "width": 0.75, "learning_rate": 5e-4},
            {"steps": 3000},
        ),
        "gan": Preset(
            "With real data (GAN)",
            "Two students with a discriminator each, by which they can pass the teacher.",
            {"gan_weight": 0.03, "discriminator_weight": 0.03},
        ),
    },
    notes="All students are trained in one run, each on its share of every batch, which holds them all in memory; the "
    "paper trains one after the other. Classes are shared out in their order, prompts by k-means of the mean of their "
    "embeddings' tokens. Fake scores keep the teacher's size. An export is one diffusers folder per student with an "
    "index that says which is for what; no other format holds several.",
)
