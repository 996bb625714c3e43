"""Folders of parts as `distill compare --parts` writes them, made without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SAMPLES, COLUMNS = 20, 10


def _side(name: str, run: int | None, seconds: float, distance: float, files: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "run": run,
        "step": None if run is None else 400,
        "nfe": 1 if seconds < 0.01 else 50,
        "seconds_per_image": seconds,
        "speed_up": 0.05 / seconds,
        "distance": distance,
        "distance_from": "plain" if "every" in name else "teacher",
        "distances": [distance] * (len(files) if len(files) > 1 else 0),
        "files": files,
    }


def _index(
    folder: Path,
    kind: str,
    sides: list[dict[str, Any]],
    density: dict[str, Any] | None = None,
    conditions: dict[str, Any] | None = None,
) -> Path:
    about = {"form": 3, "kind": kind, "seed": 7, "teacher": "Digits", "columns": COLUMNS, "sides": sides}
    (folder / "index.json").write_text(json.dumps(about | {"conditions": conditions, "density": density}))
    return folder


DIGITS = {"kind": "class", "names": [str(i % 10) for i in range(SAMPLES)]}


def write_pictures(
    folder: Path,
    size: int = 16,
    levels: tuple[int, ...] = (40, 80, 120),
    conditions: dict[str, Any] | None = DIGITS,
    student: str = "Student, 1 NFE",
) -> Path:
    """Three sides, each of one grey: `levels`; but the first pixel of a sample says which it is."""
    sides = []
    names = (("Teacher, 1 NFE", None, 0.001), (student, 1, 0.001), ("Teacher, 50 NFE", None, 0.05))
    for number, ((name, run, seconds), level) in enumerate(zip(names, levels, strict=True)):
        (folder / f"side-{number}").mkdir(parents=True)
        files = [f"side-{number}/{i:03d}.png" for i in range(SAMPLES)]
        for i, file in enumerate(files):
            pixels = np.full((size, size), level, np.uint8)
            pixels[0, 0] = i
            Image.fromarray(pixels).save(folder / file)
        sides.append(_side(name, run, seconds, abs(level - levels[-1]) / 255, files))
    return _index(folder, "pictures", sides, conditions=conditions)


def write_points(folder: Path, count: int = 500) -> Path:
    """Three sides: points about the origin, the same moved by 1 to the right, and the first again."""
    rng = np.random.default_rng(0)
    base = (0.1 * rng.standard_normal((count, 2))).astype(np.float32)
    sides = []
    names = (("Teacher, 1 NFE", None, 0.001), ("Student, 1 NFE", 1, 0.001), ("Teacher, 50 NFE", None, 0.05))
    for number, ((name, run, seconds), shift) in enumerate(zip(names, (0, 1, 0), strict=True)):
        (folder / f"side-{number}").mkdir(parents=True)
        np.save(folder / f"side-{number}" / "points.npy", base + np.array([shift, 0], np.float32))
        sides.append(_side(name, run, seconds, float(shift), [f"side-{number}/points.npy"]))
    y, x = np.mgrid[-1.6:1.6:64j, -1.6:1.6:64j]
    np.save(folder / "density.npy", np.exp(-((x - 1) ** 2 + y**2) / 0.02).astype(np.float32))
    return _index(folder, "points", sides, {"file": "density.npy", "extent": [-1.6, 1.6, -1.6, 1.6]})
