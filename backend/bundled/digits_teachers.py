"""Trains the bundled digits teachers and writes each as a diffusers folder.

    python -m backend.bundled.digits_teachers digits      EDM preconditioning, the teacher of the demo
    python -m backend.bundled.digits_teachers digits-eps  variance preserving, epsilon
    python -m backend.bundled.digits_teachers digits-flow flow matching

Each is a class-conditional pixel U-Net trained on the 1,400 training digits with labels dropped at random, so that it
also knows the unconditional score. Their quality is measured afterwards by `python -m backend.bundled.teacher_cards`.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path as FilePath

import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from backend.datasets.digits import digits
from backend.networks import Condition, Denoiser
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving, linear_betas
from backend.resources import RESOURCES

CLASSES = 10
LABEL_DROPOUT = 0.1
LEARNING_RATE = 2e-3
EMA_DECAY = 0.999
SMALLEST_FREQUENCY = 0.3
CHANNELS = {"digits": (8, 24, 48), "digits-eps": (16, 32, 64), "digits-flow": (16, 32, 64)}
"""At 16, 8 and 4 pixels. The demo's teacher is the smallest: whoever tries it waits for it, and has no GPU."""


def unet(channels: tuple[int, ...]) -> UNet2DModel:
    """A plain residual U-Net on 16x16, one resolution per entry of `channels`."""
    return UNet2DModel(
        sample_size=16,
        in_channels=1,
        out_channels=1,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        norm_num_groups=8,
        add_attention=False,
        num_class_embeds=CLASSES + 1,
    )


def unet_of(net: Denoiser) -> UNet2DModel:
    """The diffusers model inside."""
    network = net.network
    assert isinstance(network, UNet2D)
    return network.unet


def time_mask(net: UNet2DModel) -> Tensor:
    """Which inputs of the time embedding an EDM network may use: the fast frequencies alone, (features,) of 0 and 1.

    EDM's time is 0.25 ln sigma, about [-1, 1], where slow frequencies are straight lines and carry nothing more. Left
    unused, they make room for the consistency scheduler's clock, which runs 1,000 times faster.
    """
    half = net.config.block_out_channels[0] // 2
    fast = torch.exp(-math.log(10000) * torch.arange(half) / half) > SMALLEST_FREQUENCY
    return torch.cat([fast, fast]).float()


def draw_times(name: str, net: Denoiser, n: int) -> Tensor:
    """(n,) float64 training times."""
    uniform = torch.rand(n, dtype=torch.float64)
    if name != "digits":
        return uniform
    # Half log-normal as in EDM, a little wider for these small pictures; half even over the grid, because distribution
    # matching asks the teacher at every noise level and not only where perception is decided.
    sigma = (torch.randn(n, dtype=torch.float64) * 1.3 - 1.0).exp()
    return torch.where(torch.rand(n) < 0.5, net.path.t_of_ratio(sigma), uniform)


def new_teacher(name: str, channels: tuple[int, ...]) -> tuple[Denoiser, SchedulerMixin]:
    """An untrained teacher and the diffusers scheduler that samples it."""
    network = UNet2D(unet(channels), null_label=CLASSES)
    if name == "digits":
        path = VarianceExploding(sigma_min=0.02, sigma_max=20.0)
        scheduler = EDMEulerScheduler(sigma_min=path.sigma_min, sigma_max=path.sigma_max, sigma_data=0.5)
        return Denoiser(network, path, "edm", sigma_data=0.5), scheduler
    if name == "digits-eps":
        scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
        return Denoiser(network, VariancePreserving.of_betas(linear_betas()), "epsilon"), scheduler
    return Denoiser(network, FlowMatching(), "flow"), FlowMatchEulerDiscreteScheduler()


def train(name: str, channels: tuple[int, ...], steps: int, batch: int, seed: int) -> tuple[Denoiser, SchedulerMixin]:
    """The trained teacher's moving average, and its scheduler."""
    torch.manual_seed(seed)
    net, scheduler = new_teacher(name, channels)
    model = unet_of(net)
    first = model.time_embedding.linear_1.weight
    mask = time_mask(model) if name == "digits" else torch.ones(first.shape[1])
    with torch.no_grad():
        first.mul_(mask)
    average = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    data = digits("train")
    started, running = time.monotonic(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                LEARNING_RATE * min(1, (step + 1) / 100) * (0.01 + 0.99 * math.cos(step / steps * math.pi / 2) ** 2)
            )
        rows = torch.randint(len(data.images), (batch,))
        x0, labels = data.images[rows], data.labels[rows].clone()
        labels[torch.rand(batch) < LABEL_DROPOUT] = CLASSES
        t, noise = draw_times(name, net, batch), torch.randn_like(x0)
        loss = net(net.path.noised(x0, noise, t), t, Condition.of_labels(labels)).error(x0, noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            first.mul_(mask)
            decay = min(EMA_DECAY, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
        running += 0.01 * (loss.item() - running) if step else loss.item()
        if (step + 1) % 250 == 0:
            print(
                f"{name}: step {step + 1}/{steps}, loss {running:.4f}, {time.monotonic() - started:.0f} s", flush=True
            )
    return average.eval(), scheduler


def write(name: str, net: Denoiser, scheduler: SchedulerMixin, how: dict[str, object], folder: FilePath) -> None:
    """The diffusers folder, and beside it what diffusers' configs have no place for."""
    unet_of(net).save_pretrained(folder / "unet", safe_serialization=True)
    scheduler.save_pretrained(folder / "scheduler")
    profile = {
        "title": {"digits": "Digits", "digits-eps": "Digits, epsilon", "digits-flow": "Digits, flow matching"}[name],
        "null_label": CLASSES,
        "labels": [str(i) for i in range(CLASSES)],
        "data": "digits",
        "licence": "CC BY 4.0 (digits of UCI Optical Recognition of Handwritten Digits)",
        "training": how,
    }
    (folder / "teacher.json").write_text(json.dumps(profile, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["digits", "digits-eps", "digits-flow"])
    parser.add_argument("--channels", type=int, nargs="+", help="by default the bundled teacher's")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=FilePath)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    net, scheduler = train(a.name, tuple(a.channels or CHANNELS[a.name]), a.steps, a.batch, a.seed)
    how: dict[str, object] = {
        "steps": a.steps,
        "batch": a.batch,
        "seed": a.seed,
        "script": "backend/bundled/digits_teachers.py",
    }
    write(a.name, net, scheduler, how, a.out or RESOURCES / "teachers" / a.name)


if __name__ == "__main__":
    main()
