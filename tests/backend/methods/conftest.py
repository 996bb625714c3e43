"""Benches on which what a trajectory method promises is known: its teacher's own map from noise to samples."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from backend import train
from backend.contract.recipe import Training
from backend.methods import load_method
from backend.networks import Condition, Denoiser
from backend.networks.mlp import MLP
from backend.noise import VarianceExploding
from backend.samplers import Sampler, heun, initial, sample, times
from backend.teachers import Teacher, load_teacher
from backend.teachers.mixture_2d import MIXTURE, ClosedFormDenoiser, fit, paths, ring


@pytest.fixture
def begin() -> Callable[..., train.Run]:
    """begin(method, teacher, steps, batch, **settings): a run with the teacher's own samples as data."""

    def start(name: str, teacher: Teacher, steps: int, batch: int = 64, **settings: Any) -> train.Run:
        method = load_method(name)
        training = Training(steps=steps, batch_size=batch, ema_decay=0.99)
        return train.start(method, method.settings(**settings), training, teacher, teacher.draws, torch.device("cpu"))

    return start


@pytest.fixture
def continued() -> Callable[[train.Run], train.Run]:
    """The same run started anew and given what a checkpoint of the run holds, and nothing else."""

    def resume(run: train.Run) -> train.Run:
        twin = train.start(run.method, run.settings, run.training, run.teacher, run.data, run.device, run.pairs)
        for name, net in twin.modules().items():
            net.load_state_dict(run.modules()[name].state_dict())
        for name, optimizer in twin.optimizers.items():
            optimizer.load_state_dict(copy.deepcopy(run.optimizers[name].state_dict()))  # loading alone shares it
        twin.generator.set_state(run.generator.get_state())
        twin.step = run.step
        return twin

    return resume


@pytest.fixture
def untrained() -> Callable[..., Teacher]:
    """untrained(kind): the closed form of mixture-2d with random students, because fitting one takes seconds.

    untrained(kind, classes=True): with its modes as classes.
    """

    def teacher(kind: str, classes: bool = False) -> Teacher:
        exact = load_teacher(f"mixture-2d:{kind}")
        modes = len(MIXTURE.means) if classes else 0
        if classes:
            denoiser = ClosedFormDenoiser(MIXTURE, *paths()[kind], conditional=True).frozen()
            exact = replace(exact, denoiser=denoiser, labels=tuple(str(mode) for mode in range(modes)))
        denoiser, scale = exact.denoiser, 1000.0 if kind in ("epsilon", "v_prediction", "sample", "flow") else 1.0
        torch.manual_seed(0)
        network = MLP(denoiser.shape[0], width=32, scale=scale, classes=modes)
        net = Denoiser(network, denoiser.path, denoiser.prediction_type, denoiser.sigma_data)
        return replace(exact, trainable=net.copy)

    return teacher


@dataclass
class Ring8:
    """Eight equal narrow Gaussians, and where the exact probability flow leads from 4096 noises."""

    teacher: Teacher
    noise: Tensor
    reached: Tensor

    def coupling(self, net: Denoiser, sampler: Sampler) -> float:
        """Root mean square distance of the network's samples from those of the exact flow for the same noise."""
        x = sample(net, sampler, self.noise, Condition.none(len(self.noise)), torch.Generator().manual_seed(0))
        return float((x.double() - self.reached).square().sum(1).mean().sqrt())


@pytest.fixture(scope="session")
def ring8() -> Ring8:
    """On EDM's path from 80 to 0.002, with a network fitted to the exact denoiser to start from."""
    mixture = ring(0.7, 0.04, (1 / 8,) * 8)
    exact = ClosedFormDenoiser(mixture, VarianceExploding(), "edm")
    net = fit(exact, seed=0, steps=2500, width=192)
    noise = torch.randn(4096, 2, generator=torch.Generator().manual_seed(99))
    state, cond = initial(noise.double(), exact.path, 1.0), Condition.none(len(noise))
    steps = 200  # 400 move the answer by 6e-5
    for k in range(steps, 0, -1):
        state = heun(exact, state, times(k / steps, state), times((k - 1) / steps, state), cond)
    frozen = exact.frozen()
    return Ring8(Teacher("ring8", "Ring-8", frozen, net.copy, mixture.digest, draws=mixture), noise, state)
