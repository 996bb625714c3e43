"""Trains the feature network that judges the digits: `python -m backend.bundled.digits_features`.

A small classifier of the 1,400 training images, some seconds on one core, from a fixed seed. Writes
resources/features/digits.safetensors; its held-out accuracy is in the file's metadata.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from backend.datasets.digits import digits
from backend.evaluate import FeatureNetwork
from backend.resources import RESOURCES

NAME = "digits-48"
SEED = 0
EPOCHS = 20  # longer, and the training images lie apart from held-out ones in the features
BATCH = 50
PEAK_RATE = 3e-3


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """`images` (B, 1, 16, 16), each moved by -1, 0 or 1 pixels both ways, with noise of a random strength.

    The noise keeps the features from resting on the exact smoothness of the enlarged originals, which no
    generator reproduces to the last digit.
    """
    padded = functional.pad(images, (1, 1, 1, 1), value=-1.0)
    rows, columns = torch.randint(3, (2, len(images)), generator=generator)
    pixels = torch.arange(images.shape[-1])
    moved = padded[
        torch.arange(len(images))[:, None, None],
        0,
        (rows[:, None] + pixels)[:, :, None],
        (columns[:, None] + pixels)[:, None, :],
    ][:, None]
    strength = 0.1 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return moved + strength * torch.randn(images.shape, generator=generator)


def train(seed: int = SEED, epochs: int = EPOCHS) -> FeatureNetwork:
    """The trained network, its features centred and scaled on the clean training images."""
    data = digits("train")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # modules draw their first weights from the global generator
        net = FeatureNetwork(classes=len(data.names))
    steps = epochs * (len(data) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps))
    for _ in range(epochs):
        for chosen in torch.randperm(len(data), generator=generator).split(BATCH):
            images, labels = data.batch(chosen)
            _, logits = net(augmented(images, generator))
            loss = functional.cross_entropy(logits, labels, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _standardised(net, data.images)


def _standardised(net: FeatureNetwork, images: Tensor) -> FeatureNetwork:
    """`net` with the running statistics of its features replaced by those of all of `images`."""
    norm = net.trunk[-1]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    norm.reset_running_stats()
    norm.momentum = None  # a plain average, and there is only one batch to average
    with torch.no_grad():
        net(images)
    return net.eval().requires_grad_(False)


def held_out_accuracy(net: FeatureNetwork) -> float:
    """The share of the held-out digits that `net` names rightly."""
    data = digits("held-out")
    with torch.no_grad():
        _, logits = net(data.images)
    return float((logits.argmax(1) == data.labels).double().mean())


def write(folder: Path) -> None:
    """Train, and write digits.safetensors into `folder`."""
    torch.set_num_threads(1)  # sums in a fixed order: the same weights each time
    net = train()
    about = {
        "name": NAME,
        "classes": net.head.out_features,
        "width": net.head.in_features,
        "channels": digits("train").images.shape[1],
        "held_out_accuracy": round(held_out_accuracy(net), 4),
        "trained_on": digits("train").digest,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # One entry, because safetensors writes several in an order that differs from run to run.
    save_file(net.state_dict(), folder / "digits.safetensors", metadata={"feature_network": json.dumps(about)})


if __name__ == "__main__":
    write(RESOURCES / "features")
