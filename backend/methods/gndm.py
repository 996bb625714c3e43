"""R_dm: Re-conceptualizing Distribution Matching as a Reward for Diffusion Distillation, arXiv:2603.28460: GNDM.

The matching gradient is that of a reward, log p_t - log q_t, and rewards are normalised within a group rather than one
by one: samples of the same condition at the same noise share the divisor of their gradients. A sample far from the
teacher, whose own divisor is large, is then not held back. With groups of one it is DMD2.
"""

from backend.contract.settings import setting
from backend.methods import Method, Preset, dmd2


class Settings(dmd2.Settings):
    group_size: int = setting(
        4,
        "Samples that share a condition and the noise at which scores are compared, and are normalised as one; 1 is "
        "DMD2 itself",
        low=1,
        high=16,
    )


METHOD = Method(
    title="Matching as a reward, in groups (GNDM)",
    paper="arXiv:2603.28460",
    family="distribution matching",
    summary="DMD2 with a group's common divisor, so that samples far from the teacher are not held back.",
    settings=Settings,
    build=dmd2.build,
    optimizers=dmd2.optimizers,
    step=dmd2.step,
    sampler=dmd2.sampler,
    cost=dmd2.cost,
    needs=dmd2.needs,
    accumulates=dmd2.accumulates,
    training=dmd2.METHOD.training,
    presets={
        "one-step": Preset("One step (fast)", "One network evaluation for a picture, groups of four."),
        "four-steps": Preset(
            "Four steps",
            "Four network evaluations for a picture; the fake score learns twice for each step of the student.",
            {"student_steps": 4, "fake_score_updates": 2},
            {"steps": 1800},
        ),
        "large-groups": Preset("Groups of eight", "Fewer conditions in a batch.", {"group_size": 8}),
    },
    notes="Of the paper only its abstract was known to us: what a group shares is our reading of it. Rewards beside "
    "the teacher's (GNDMR) are left out, as they need a reward model, and so is importance sampling.",
)
