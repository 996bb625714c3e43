"""Measures how far a negative prompt steers the bundled teacher `emoji` away from what it names.

python -m backend.bundled.emoji_steering [--names N] [--each N] [--nfe N] [--away 0 .1 .2 .5]

Every name is asked for twice, with itself as the negative prompt and with another name. What the first loses against
the second is the steering's, and not the harm that any change of the attention does to a picture.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from backend import judge
from backend.datasets.emoji import emoji
from backend.evaluate import FeatureNetwork, agreement
from backend.networks import Guided
from backend.networks.steering import steer
from backend.resources import RESOURCES
from backend.samplers import teacher_sampler
from backend.teachers import Teacher, load_teacher
from backend.teachers.prompts import tokens

AWAY = (0.0, 0.1, 0.2, 0.5)
SEED = 11


def rows(names: int, each: int, nfe: int, aways: Sequence[float] = AWAY) -> Iterator[dict[str, float]]:
    """For each strength the share of samples that are nearest to the picture of their name (`agreement`).

    names: how many, spread over the teacher's prompts; each: samples of one; nfe: evaluations under guidance.
    """
    teacher = load_teacher("emoji")
    asked = [len(teacher.prompts) * k // names for k in range(names)]
    network = FeatureNetwork.load(RESOURCES / "features" / "emoji.safetensors")
    real, _ = network.describe(emoji().images)
    place = {name: number for number, name in enumerate(emoji().names)}
    labels = torch.tensor([place[teacher.prompts[k]] for k in asked]).repeat_interleave(each)
    others = [*asked[names // 2 :], *asked[: names // 2]]
    for away in aways:
        row = {"away": away}
        for title, negatives in (("away_from_itself", asked), ("away_from_another", others)):
            drawn = [draw(teacher, k, n, away, each, nfe) for k, n in zip(asked, negatives, strict=True)]
            made, _ = network.describe(torch.cat(drawn).clamp(-1, 1))
            row[title] = agreement(real, made, emoji().labels, labels)
        yield row


def draw(teacher: Teacher, prompt: int, negative: int, away: float, each: int, nfe: int) -> Tensor:
    """Pictures (each, 3, 64, 64) of one of the teacher's prompts, steered away from another; both by their numbers."""
    words = teacher.prompts[negative]
    net = Guided(steer(teacher.denoiser, words, tokens(teacher, words)), teacher.guidance_scale)
    sampler = replace(teacher_sampler(nfe, teacher.denoiser.path), away=away)
    return judge.draw(net, sampler, teacher, teacher.condition_of(torch.full((each,), prompt)), SEED + prompt)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=24)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--nfe", type=int, default=8)
    parser.add_argument("--away", type=float, nargs="+", default=AWAY)
    asked = parser.parse_args()
    print("away  agreement, away from itself  away from another name")
    for row in rows(asked.names, asked.each, asked.nfe, asked.away):
        print(f"{row['away']:4g}  {row['away_from_itself']:26.3f}  {row['away_from_another']:22.3f}", flush=True)


if __name__ == "__main__":
    main()
