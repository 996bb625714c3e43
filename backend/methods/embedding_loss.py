"""Embedding Loss: Efficient Diffusion Distillation via Embedding Loss, arXiv:2604.22379.

A term that goes with any method: the mean features of the student's samples and of real ones, in networks that nobody
trained and that are new at every step, must be the same (MMD). No discriminator, and small batches suffice. Here it
goes with distribution matching; DMD2, GDD and consistency distillation take it as a setting.
"""

from backend.contract.settings import setting
from backend.methods import Method, Preset, dmd2


class Settings(dmd2.Settings):
    embedding_weight: float = setting(
        0.1, "Weight of the mean difference from real data in random features; 0 is DMD2 itself", low=0, high=1
    )


METHOD = Method(
    title="Embedding Loss",
    paper="arXiv:2604.22379",
    family="distribution matching",
    summary="DMD2 with a second opinion from random networks on real data; wants fewer steps and smaller batches.",
    settings=Settings,
    build=dmd2.build,
    optimizers=dmd2.optimizers,
    step=dmd2.step,
    sampler=dmd2.sampler,
    cost=dmd2.cost,
    needs=dmd2.METHOD.needs,
    accumulates=dmd2.accumulates,
    training={**dmd2.METHOD.training, "steps": 600},
    presets={
        "one-step": Preset("One step (fast)", "One network evaluation for a picture."),
        "four-steps": Preset(
            "Four steps", "Four evaluations for a picture.", {"student_steps": 4, "fake_score_updates": 2}
        ),
        "strong": Preset("Stronger", "More of the real data's means, less of the teacher.", {"embedding_weight": 0.3}),
    },
    notes="Two new networks of three layers for every step, a linear kernel, classes compared one by one and no "
    "augmentation are our choices. What the random networks cost is left out of the cost.",
)
