"""What holds of every student that is told where its step ends: exact answers are as exact in several steps."""

from types import ModuleType

import torch

from backend.networks import Condition, Denoiser
from backend.samplers import sample


def same_in_one_step_and_four(method: ModuleType, student: Denoiser) -> None:
    """Whether the method's own samplers lead the same noise to the same place. student: exact, of the plane."""
    noise = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = []
    for steps in (1, 4):
        plan = method.sampler(method.Settings(student_steps=steps, first_level=0.9), student)
        found.append(sample(student, plan, noise, Condition.none(64), torch.Generator()))
    # The last step gives x0 instead of the path's least noise, which is 0.02 of it at most.
    torch.testing.assert_close(found[0], found[1], rtol=0.02, atol=1e-3)
