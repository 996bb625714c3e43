"""Noise/sample pairs: where the teacher's deterministic sampler leads from given noise, computed once and kept.

A store is named by all that its content depends on, so that every run that asks for the same finds it. It is written
in parts, each complete or not there at all: a killed run goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backend import cache, disk
from backend.contract.recipe import Pairs
from backend.networks import Condition, Denoiser
from backend.samplers import Denoises, even_levels, normal, sample_heun, start_level
from backend.teachers import Teacher

PART = 256
"""Pairs in a part, and at once in the network."""
HELD_OUT = 50
"""One pair of so many is never trained on."""
PAIRS_ALPHA = 0.04
"""Where an epsilon teacher's trajectories start of which pairs are made. The student is told a later time for the same
noise, where its clean sample is no difference of large numbers: on `digits-eps`, 150 steps of knowledge distillation
with the student at alpha 0.04, 0.16, 0.4 gave a Frechet distance of 5.9, 1.25, 0.86."""


@dataclass(frozen=True)
class PairStore:
    """N unit normal noises and the samples they lead to, both (N, ...) float32 on the CPU, and their conditions.

    digest: SHA-256 of what they were made from.
    """

    noise: Tensor
    samples: Tensor
    cond: Condition
    digest: str

    def draw(self, n: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor, Condition]:
        """n pairs of those that are trained on, with repetition."""
        last = len(self.noise) - len(self.noise) // HELD_OUT
        rows = torch.randint(last, (n,), generator=generator, device=generator.device).cpu()
        return self.noise[rows].to(device), self.samples[rows].to(device), self.cond[rows].to(device)

    def held_out(self) -> tuple[Tensor, Tensor, Condition]:
        """The pairs that are never drawn; none of fewer than `HELD_OUT`."""
        rows = slice(len(self.noise) - len(self.noise) // HELD_OUT, None)
        return self.noise[rows], self.samples[rows], self.cond[rows]

    def held_out_lot(self, n: int, lot: int, device: torch.device) -> tuple[Tensor, Tensor, Condition] | None:
        """n of the pairs that are never drawn, lot after lot, round and round; None where there are none."""
        noise, samples, cond = self.held_out()
        if not len(noise):
            return None
        rows = torch.arange(lot * n, (lot + 1) * n) % len(noise)
        return noise[rows].to(device), samples[rows].to(device), cond[rows].to(device)


@dataclass(frozen=True)
class Source:
    """What a store's pairs come from: a network, guided or not, from `first_level` down, and the digest of its weights.

    guidance_scale: that of `net`, for the store's name alone.
    """

    net: Denoises
    teacher: Teacher
    digest: str
    first_level: float
    guidance_scale: float = 1.0

    def key(self, asked: Pairs) -> str:
        """SHA-256 of everything that the pairs depend on."""
        conditions = repr((self.teacher.labels, self.teacher.prompts, self.teacher.key))
        meaning = {
            "form": 1,
            "source": self.digest,
            "conditions": hashlib.sha256(conditions.encode()).hexdigest(),
            "first_level": self.first_level,
            "guidance_scale": self.guidance_scale,
            "pairs": asked.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def pairs_level(net: Denoiser) -> float:
    """The time t at which the teacher's trajectories start of which pairs are made."""
    return net.path.on_grid(start_level(net, least_alpha=PAIRS_ALPHA))


def make_part(source: Source, asked: Pairs, part: int, device: torch.device) -> dict[str, Tensor]:
    """The pairs of one part, by names under which they are stored; the same for the same source, recipe and part."""
    count = min(PART, asked.count - part * PART)
    generator = torch.Generator().manual_seed(asked.seed * 1_000_003 + part)
    cond = source.teacher.conditions(count, generator)
    noise = normal((count, *source.teacher.denoiser.shape), generator)
    levels = tuple(source.first_level * level for level in even_levels(asked.steps))
    samples = sample_heun(source.net, levels, noise.to(device), cond.to(device))
    parts = {f"cond/{name}": tensor for name, tensor in cond.parts.items()}
    return {"noise": noise, "samples": samples.float().cpu(), **parts}


def make(source: Source, asked: Pairs, device: torch.device) -> PairStore:
    """All pairs, in memory alone."""
    made = [make_part(source, asked, part, device) for part in range(_parts(asked))]
    return _joined(made, source.key(asked))


def kept(
    source: Source, asked: Pairs, folder: Path, device: torch.device, report: Callable[[int, int], object]
) -> PairStore:
    """The pairs from `folder`, where what is missing of them is made and kept.

    report: told how many are there, and of how many, as they are made. Raises `DiskError` where they cannot be kept.
    """
    key = source.key(asked)
    place = folder / f"pairs-{key[:16]}"
    made = []
    for part in range(_parts(asked)):
        file = place / f"{part:05d}.safetensors"
        found = cache.kept(file)
        tensors = found[0] if found else make_part(source, asked, part, device)
        if found is None:
            try:
                cache.keep(tensors, {}, file)
            except OSError as error:
                each = sum(t.numel() * t.element_size() for t in tensors.values()) // len(tensors["noise"])
                rest = each * (asked.count - part * PART)
                raise disk.refusal("what is missing of the noise/sample pairs", place, rest, error) from error
            report(min((part + 1) * PART, asked.count), asked.count)
        made.append(tensors)
    return _joined(made, key)


def _parts(asked: Pairs) -> int:
    return -(-asked.count // PART)


def _joined(made: list[dict[str, Tensor]], digest: str) -> PairStore:
    whole = {name: torch.cat([part[name] for part in made]) for name in made[0]}
    parts = {name.removeprefix("cond/"): tensor for name, tensor in whole.items() if name.startswith("cond/")}
    return PairStore(whole["noise"], whole["samples"], Condition(len(whole["noise"]), parts), digest)
