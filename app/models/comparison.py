"""A comparison without widgets: what was asked for, where it is kept, what was made, and how it is looked at.

The pictures themselves are made by `distill compare --parts`; here its index is read. Nothing here paints.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from app.models.run_words import Words
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile

Mode = Literal["side", "wipe", "blink", "difference"]
Deed = Literal["pan", "sample", "divider"]
INDEX = "index.json"
FORM = 3
KEPT_COMPARISONS = 12
LEAST_SCALE, MOST_SCALE = 0.02, 200.0


class ComparisonError(UserError):
    """A comparison that was kept cannot be read; the text says what to do."""


# What may be compared, and what was asked for


@dataclass(frozen=True)
class RunChoice:
    """A run that may be a side. checkpoints: (step, whether it is the best), oldest first; empty before the first."""

    run: int
    name: str
    teacher: str
    checkpoints: tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Pick:
    """A run's checkpoint. which: "best", "last" or a step."""

    run: int
    which: str = "best"


@dataclass(frozen=True)
class Wanted:
    """What a person asked to see side by side.

    accelerate: beside it, such as "deepcache:3"; empty for nothing. only: prompts or classes; empty for all in turn.
    """

    picks: tuple[Pick, ...]
    seed: int
    teacher_nfe: int
    accelerate: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a comparison is kept. names: its sides, as the command line knows them."""

    folder: Path
    names: tuple[str, ...]


def choices(project: ProjectFile) -> list[RunChoice]:
    """Every run that trains a student, newest first."""
    found = []
    for run in reversed(project.runs()):
        kept = {mark.step: mark.is_best for mark in project.checkpoints(run.id)}
        found.append(RunChoice(run.id, run.name, str(run.recipe.get("teacher", "")), tuple(sorted(kept.items()))))
    return found


def place_of(project: ProjectFile, wanted: Wanted) -> Place:
    """Where this comparison belongs: the same sides from the same weights have the same place, whatever "best" was."""
    marks = [project.find_checkpoint(pick.run, pick.which) for pick in wanted.picks]
    how = [part for part in (wanted.accelerate, wanted.only) if part]
    about = [FORM, wanted.seed, wanted.teacher_nfe, *how, [(mark.run, mark.step, mark.sha256) for mark in marks]]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    return Place(project.files / "compare" / key, tuple(f"{mark.run}@{mark.step}" for mark in marks))


def forget_old(folder: Path, keep: int = KEPT_COMPARISONS) -> None:
    """Delete all but the newest comparisons: they can be drawn again."""
    kept = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in kept[keep:]:
        shutil.rmtree(old, ignore_errors=True)


# What was made


@dataclass(frozen=True)
class Side:
    """One side. run, step: of a student; None for the teacher. distance: of its samples from the teacher's in full, or
    where it is accelerated from its own without that, 0 to 1 for pictures, in data units for points; None where it has
    no value. distances: of each picture."""

    name: str
    run: int | None
    step: int | None
    nfe: int
    seconds: float
    speed_up: float
    distance: float | None
    is_accelerated: bool
    files: tuple[Path, ...]
    distances: tuple[float | None, ...]


@dataclass(frozen=True)
class Density:
    """The exact density of points on a grid, lowest row first. extent: left, right, bottom, top in data units."""

    file: Path
    extent: tuple[float, float, float, float]


@dataclass(frozen=True)
class Conditions:
    """What the pictures of every side answer. names: of each picture, in their order."""

    kind: Literal["prompt", "class"]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Sides from the same noise. columns: of the grid in which samples are shown. conditions: None for points and
    where the teacher takes none."""

    folder: Path
    kind: Literal["pictures", "points"]
    seed: int
    teacher: str
    columns: int
    conditions: Conditions | None
    sides: tuple[Side, ...]
    density: Density | None

    @property
    def count(self) -> int:
        """How many pictures each side has."""
        return len(self.sides[0].files)

    @property
    def first_student(self) -> int:
        """The place of the first side that is a student."""
        return next((i for i, side in enumerate(self.sides) if side.run is not None), 0)

    def distance(self, side: int, sample: int | None) -> float | None:
        """How far a side is from what it is compared with, in all samples or in one."""
        found = self.sides[side]
        return found.distances[sample] if sample is not None and found.distances else found.distance


def read(folder: Path) -> Comparison | None:
    """The comparison in a folder; None where there is none, or none that was finished."""
    try:
        found = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ComparisonError(
            f"The comparison in {folder} cannot be read; delete that folder and draw again."
        ) from error
    if found.get("form") != FORM:
        return None
    density, asked = found["density"], found["conditions"]
    return Comparison(
        folder=folder,
        kind=found["kind"],
        seed=found["seed"],
        teacher=found["teacher"],
        columns=found["columns"],
        conditions=asked and Conditions(asked["kind"], tuple(asked["names"])),
        sides=tuple(_side(folder, row) for row in found["sides"]),
        density=density and Density(folder / density["file"], tuple(density["extent"])),
    )


def _side(folder: Path, row: dict[str, Any]) -> Side:
    return Side(
        name=row["name"],
        run=row["run"],
        step=row["step"],
        nfe=row["nfe"],
        seconds=row["seconds_per_image"],
        speed_up=row["speed_up"],
        distance=row["distance"],
        is_accelerated=row["distance_from"] == "plain",
        files=tuple(folder / name for name in row["files"]),
        distances=tuple(row["distances"]),
    )


# How it is looked at


@dataclass(frozen=True)
class Camera:
    """What every pane shows: the point of the content in its middle, and how many units of the screen one unit of
    the content takes. All panes share one, so that they zoom and pan as one."""

    x: float
    y: float
    scale: float

    @classmethod
    def fit(cls, content: tuple[float, float], pane: tuple[float, float], margin: float = 0.0) -> Camera:
        """All of the content, as big as it gets."""
        width, height = (max(extent - 2 * margin, 1.0) for extent in pane)
        scale = min(width / max(content[0], 1e-9), height / max(content[1], 1e-9))
        return cls(content[0] / 2, content[1] / 2, min(max(scale, LEAST_SCALE), MOST_SCALE))

    def to_view(self, x: float, y: float, pane: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the content lies in a pane."""
        return (x - self.x) * self.scale + pane[0] / 2, (y - self.y) * self.scale + pane[1] / 2

    def to_content(self, x: float, y: float, pane: tuple[float, float]) -> tuple[float, float]:
        """Which point of the content lies at a point of a pane."""
        return (x - pane[0] / 2) / self.scale + self.x, (y - pane[1] / 2) / self.scale + self.y

    def zoomed(self, factor: float, at: tuple[float, float], pane: tuple[float, float]) -> Camera:
        """Nearer or farther; what lies at the point `at` of the pane stays there."""
        scale = min(max(self.scale * factor, LEAST_SCALE), MOST_SCALE)
        x, y = self.to_content(*at, pane)
        return Camera(x - (at[0] - pane[0] / 2) / scale, y - (at[1] - pane[1] / 2) / scale, scale)

    def panned(self, dx: float, dy: float, content: tuple[float, float]) -> Camera:
        """As if the content was dragged by so much of the screen; its edge never passes the middle of a pane."""
        x, y = self.x - dx / self.scale, self.y - dy / self.scale
        return replace(self, x=min(max(x, 0.0), content[0]), y=min(max(y, 0.0), content[1]))


@dataclass(frozen=True)
class Grid:
    """Tiles of one size, row by row, with a gap between them."""

    count: int
    columns: int
    width: float
    height: float
    gap: float

    @property
    def size(self) -> tuple[float, float]:
        """Of all of it."""
        columns = min(self.columns, self.count)
        rows = -(-self.count // columns)
        return columns * (self.width + self.gap) - self.gap, rows * (self.height + self.gap) - self.gap

    def origin(self, index: int) -> tuple[float, float]:
        """The top left corner of a tile."""
        return index % self.columns * (self.width + self.gap), index // self.columns * (self.height + self.gap)

    def at(self, x: float, y: float) -> int | None:
        """The tile at a point; None in a gap and outside."""
        if x < 0 or y < 0:
            return None
        column, row = int(x // (self.width + self.gap)), int(y // (self.height + self.gap))
        index = row * self.columns + column
        inside = x - column * (self.width + self.gap) < self.width and y - row * (self.height + self.gap) < self.height
        return index if inside and column < self.columns and index < self.count else None


def arrange(count: int, content: tuple[float, float], area: tuple[float, float], below: float) -> int:
    """In how many columns `count` panes show the content biggest; `below` is what words take under each."""

    def scale(columns: int) -> float:
        rows = -(-count // columns)
        return min(area[0] / columns / content[0], max(area[1] / rows - below, 1) / content[1])

    return max(range(1, max(count, 1) + 1), key=scale)


def is_beside(count: int, content: tuple[float, float], area: tuple[float, float], below: float, aside: float) -> bool:
    """Whether panes one above the other, with their words at the right, show the content bigger than any other way.

    aside: how wide words are there.
    """
    columns = arrange(count, content, area, below)
    rows = -(-count // columns)
    others = min(area[0] / columns / content[0], max(area[1] / rows - below, 1) / content[1])
    return count > 1 and min((area[0] - aside) / content[0], area[1] / count / content[1]) > others


def arrow_means(mode: Mode, fitted: bool, sideways: bool, points: bool) -> Deed:
    """What an arrow key does: it moves what there is to move."""
    if mode == "wipe" and sideways:
        return "divider"
    return "sample" if fitted and not points else "pan"


def step_sample(current: int, key: Literal["left", "right", "up", "down"], count: int, columns: int) -> int:
    """The sample an arrow key leads to; it stays at the edges."""
    change = {"left": -1, "right": 1, "up": -columns, "down": columns}[key]
    return current + change if 0 <= current + change < count else current


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, at most about `most` of them."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or most < 1:
        return []
    rough = span / most
    unit = 10.0 ** math.floor(math.log10(rough))
    spacing = next((unit * m for m in (1, 2, 5) if unit * m >= rough), unit * 10)
    first = math.ceil(low / spacing - 1e-9)
    return [round(i * spacing, 12) for i in range(first, math.floor(high / spacing + 1e-9) + 1)]


def seconds_words(seconds: float) -> str:
    """A latency with three figures in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def speed_words(speed_up: float) -> str:
    """How many times faster, with two figures below 10 and none behind the point above."""
    return f"{speed_up:.1f}×" if speed_up < 10 else f"{speed_up:.0f}×"


def condition_words(conditions: Conditions, sample: int, tr: Words) -> str:
    """The prompt or class that a picture answers."""
    words = tr("Prompt: {0}") if conditions.kind == "prompt" else tr("Class: {0}")
    return words.format(conditions.names[sample])


def sample_words(conditions: Conditions, sample: int, tr: Words) -> str:
    """The prompt or class that a picture answers, and which picture it is."""
    is_prompt = conditions.kind == "prompt"
    words = tr("Prompt of sample {0} of {1}: {2}") if is_prompt else tr("Class of sample {0} of {1}: {2}")
    return words.format(sample + 1, len(conditions.names), conditions.names[sample])


def common_teacher(picks: Sequence[Pick], runs: Sequence[RunChoice]) -> bool:
    """Whether all chosen runs have one teacher, so that they can have the same noise and conditions."""
    teachers = {run.run: run.teacher for run in runs}
    return len({teachers.get(pick.run) for pick in picks}) <= 1
