"""Trains the feature network that judges the emoji: `python -m backend.bundled.emoji_features STATE`.

A small classifier in which each picture is a class of its own, told from all others under changes that leave it what
it shows: shifts, sizes, colours, blur, noise and missing parts. STATE keeps what goes on, for a resumed training.
Writes resources/features/emoji.safetensors; in its metadata stands the share of the pictures, changed once more,
that lie nearest to their own original.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from backend.bundled.emoji_training import Plan, generator_at, rows_at, train
from backend.datasets.emoji import SIZE, emoji
from backend.evaluate import FeatureNetwork
from backend.resources import RESOURCES

NAME = "emoji-128"
WIDTH = 128
STAGES = (24, 48, 96, 128)
PLAN = Plan(steps=2000, batch=48, rate=2e-3, decay=0.6, ema_decay=0.99, weight_decay=0.01)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """`images` (B, 3, 64, 64) in [-1, 1], moved, resized, tinted, blurred, noisy and with a hole, at random."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    zoom, move = uniform(0.9, 1.15), uniform(-0.1, 0.1, 2)
    grid = torch.zeros(n, 2, 3)
    grid[:, 0, 0], grid[:, 1, 1], grid[:, :, 2] = zoom, zoom, move
    places = functional.affine_grid(grid, list(images.shape), align_corners=False)
    # What comes in from outside is the white the pictures are on.
    images = functional.grid_sample(images - 1, places, align_corners=False) + 1
    images = images * uniform(0.85, 1.0, 1, 1, 1) + uniform(-0.1, 0.1, 3, 1, 1)
    blurred = functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, blurred, uniform(0, 1, 1, 1, 1))
    side = torch.arange(SIZE)
    top, left, size = uniform(0, SIZE, 1), uniform(0, SIZE, 1), uniform(0, 16, 1)
    rows, columns = (side - top).abs() < size / 2, (side - left).abs() < size / 2
    images = torch.where((rows[:, :, None] & columns[:, None])[:, None], 1.0, images)
    return images + uniform(0, 0.15, 1, 1, 1) * torch.randn(images.shape, generator=generator)


class InstanceLoss:
    """The loss of a training step: which of the pictures is it."""

    def __init__(self, net: FeatureNetwork, images: Tensor, plan: Plan) -> None:
        self.net, self.images, self.plan = net, images, plan

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        rows = rows_at(self.plan, step, len(self.images))
        _, logits = self.net(augmented(self.images[rows], generator))
        return functional.cross_entropy(logits, rows, label_smoothing=0.05)


def standardised(net: nn.Module, images: Tensor) -> FeatureNetwork:
    """`net` with the running statistics of its features replaced by those of all of `images`."""
    assert isinstance(net, FeatureNetwork)
    norm = net.trunk[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.reset_running_stats()
    norm.momentum = None  # a plain average, and there is only one batch to average
    with torch.no_grad():
        net.train()(images)
    return net.eval().requires_grad_(False)


def nearest(net: FeatureNetwork, pictures: Tensor, known: Tensor) -> Tensor:
    """(N,) int64: for each of `pictures` which of `known` lies nearest in the features; both (..., 3, 64, 64)."""
    features, theirs = net.describe(pictures)[0], net.describe(known)[0]
    return torch.cdist(features, theirs).argmin(1)


def own_nearest(net: FeatureNetwork, images: Tensor, seed: int) -> float:
    """The share of `images`, changed at random, whose nearest among `images` is their own original."""
    found = nearest(net, augmented(images, generator_at(seed, 0)), images)
    return float((found == torch.arange(len(images))).double().mean())


def write(state: Path, plan: Plan, folder: Path) -> None:
    """Train, and write emoji.safetensors into `folder`."""
    torch.set_num_threads(1)  # sums in a fixed order: the same weights each time
    data = emoji()
    torch.manual_seed(plan.seed)
    net = FeatureNetwork(len(data), WIDTH, 3, SIZE, STAGES)
    trained = standardised(train(net, InstanceLoss(net, data.images, plan), plan, state / "features.pt"), data.images)
    about = {
        "name": NAME,
        "classes": len(data),
        "width": WIDTH,
        "channels": 3,
        "size": SIZE,
        "stages": STAGES,
        "augmented_own_nearest": round(own_nearest(trained, data.images, seed=plan.seed + 1), 4),
        "trained_on": data.digest,
    }
    print(about)
    folder.mkdir(parents=True, exist_ok=True)
    # One entry, because safetensors writes several in an order that differs from run to run.
    save_file(trained.state_dict(), folder / "emoji.safetensors", metadata={"feature_network": json.dumps(about)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("state", type=Path)
    parser.add_argument("--out", type=Path, default=RESOURCES / "features")
    asked = parser.parse_args()
    write(asked.state, PLAN, asked.out)
