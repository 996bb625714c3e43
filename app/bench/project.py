"""Makes a project as large as a person's may become, for measuring the window."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

CURVES = (
    "matching",
    "gan",
    "fake_score",
    "discriminator",
    "student_gradient_norm",
    "fake_score_gradient_norm",
    "score_difference",
    "real_logit",
    "fake_logit",
    "preview_frechet",
)
BATCH_STEPS = 20_000
RECIPE = {"teacher": "digits", "method": "dmd2"}
SHARE_OF_LAST = 0.8


def build(path: Path, runs: int, points: int, samples: int, say: Callable[[str], None]) -> int:
    """A project with `runs` finished runs, `points` metric points and `samples` pictures, most of both in the last
    run; that run's id, 0 where there is none."""
    with ProjectFile.create(path) as project:
        last = 0
        for number in range(runs):
            share = SHARE_OF_LAST if number == runs - 1 else (1 - SHARE_OF_LAST) / max(runs - 1, 1)
            steps = max(1, round(points * share / len(CURVES)))
            recipe = Recipe.from_values(
                {**RECIPE, "settings": {"learning_rate": 1e-4 * (1 + number % 7)}, "training": {"steps": steps}}
            )
            last = project.add_run(recipe, name=f"run {number + 1}")
            project.set_tags(last, ["large"] if number % 2 else ["small", "kept"])
            attempt = project.begin_attempt(last)
            project.set_first_step(attempt, 1)
            for rows in batches(steps, number):
                project.record(attempt, rows)
            pictures(project, last, attempt, round(samples * share), steps)
            project.end_attempt(attempt, "finished")
            if number % 50 == 49 or number == runs - 1:
                say(f"run {number + 1} of {runs}")
    return last


def batches(steps: int, seed: int) -> Iterator[list[MetricRow]]:
    """The rows of a run: curves that fall, with noise and now and then a spike."""
    rng = np.random.default_rng(seed)
    for begin in range(0, steps, BATCH_STEPS):
        step = np.arange(begin + 1, min(begin + BATCH_STEPS, steps) + 1)
        curve = 0.3 + 2 * np.exp(-step / max(steps / 4, 1))
        noise = rng.normal(0, 0.1, (len(CURVES), len(step)))
        noise[rng.random(noise.shape) < 1e-5] = 20
        values = (curve + noise).T.tolist()
        yield [
            MetricRow(s, dict(zip(CURVES, row, strict=True)), s * 0.01, s * 64, s * 512)
            for s, row in zip(step.tolist(), values, strict=True)
        ]


def pictures(project: ProjectFile, run: int, attempt: int, count: int, steps: int, size: int = 64) -> None:
    """Previews of 40 pictures each, spread over the run."""
    grids = max(1, count // 40)
    drawn = [picture(seed, size) for seed in range(40)]
    with project.transaction():
        for index in range(count):
            step = (index // 40 + 1) * steps // grids
            project.add_sample(
                run,
                step=step,
                kind="preview",
                position=index % 40,
                image=drawn[index % 40],
                attempt=attempt,
                label=str(index % 10),
                seed=7,
                scores={"frechet": 10 / (1 + index // 40)},
            )


def picture(seed: int, size: int) -> bytes:
    """A PNG of smooth noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize((size, size), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def feed(path: Path, run: int, rows_per_second: int, seconds: float, images: int) -> None:
    """Be a worker that records so many rows a second for some time, and then `images` pictures of 1,024 pixels."""
    pause = 0.05
    steps = max(1, round(rows_per_second * pause / len(CURVES)))
    with ProjectFile.open(path, role="worker") as project:
        attempt = project.begin_attempt(run)
        begun = time.monotonic()
        for number in range(round(seconds / pause)):
            first = number * steps + 1
            project.record(
                attempt,
                [
                    MetricRow(s, {name: 0.5 + (s * 7 % 100) / 200 for name in CURVES}, s * 0.0005, s, s)
                    for s in range(first, first + steps)
                ],
            )
            project.heartbeat(attempt)
            # The pace of a run: a benchmark's worker records so much a second and no more.
            time.sleep(max(0.0, begun + (number + 1) * pause - time.monotonic()))
        drawn = [picture(seed, 1024) for seed in range(4)]
        for index in range(images):
            project.add_sample(
                run,
                step=round(seconds / pause) * steps,
                kind="preview",
                position=index,
                image=drawn[index % 4],
                attempt=attempt,
                label=str(index),
                seed=7,
            )
        project.end_attempt(attempt, "finished")


if __name__ == "__main__":
    feed(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
