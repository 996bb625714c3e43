"""Which sound run a person's curves can be held against, and where its band lies on a plot. Knows no widgets.

What a band is, and how one is made of a run's curves, is `backend.contract.bands`. Questions to a project run in the
reader's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.models.curve_view import Axis, Span, Values
from backend.contract import bands
from backend.contract.bands import Band, Shipped
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, RecipeError
from backend.contract.rows import Run

MOST = 40
"""Runs that are offered: more is no menu."""
ENDED = ("finished", "stopped")
Place = Literal["inside", "above", "below"]


@dataclass(frozen=True)
class Reference:
    """Whose curves a band is of: those of a run of the project; or, where that is None, of a run that ships with the
    program under a name."""

    name: str
    run: int | None = None


@dataclass(frozen=True)
class Offers:
    """What the curves of a run can be held against. runs: others by id and name, those that ended first, newest first.

    shipped: the name of one of the same preset, empty for none. fits: with batches of the same size, too.
    """

    run: int
    method: str
    runs: tuple[tuple[int, str], ...] = ()
    shipped: str = ""
    fits: bool = False


@dataclass(frozen=True)
class Bands:
    """Bands by the names of curves. name: of the run that they are of; empty for one that ships."""

    reference: Reference
    name: str
    bands: Mapping[str, Band]


@dataclass(frozen=True)
class Shade:
    """A band on the scales of a plot, at x in rising order. Where low or high is -inf it reaches the foot."""

    x: Values
    low: Values
    high: Values

    def within(self, span: Span) -> Shade:
        """What of it is in a range of the x axis, from edge to edge."""
        if not len(self.x) or self.x[-1] < span.low or self.x[0] > span.high:
            return NOTHING
        edges = np.clip([span.low, span.high], self.x[0], self.x[-1])
        inside = (self.x > edges[0]) & (self.x < edges[1])
        sides = [
            np.concatenate([[_between(edges[0], self.x, one)], one[inside], [_between(edges[1], self.x, one)]])
            for one in (self.low, self.high)
        ]
        return Shade(np.concatenate([edges[:1], self.x[inside], edges[1:]]), *sides)


NOTHING = Shade(np.empty(0), np.empty(0), np.empty(0))


def offers(project: ProjectFile, runs: Sequence[Run], run: int) -> Offers | None:
    """What the curves of a run can be held against. runs: all of the project, oldest first; None if it is not there."""
    own = next((one for one in runs if one.id == run), None)
    if own is None:
        return None
    alike = [one for one in reversed(runs) if one.id != run and _is_alike(own, one)][:MOST]
    states = {one.id: project.run_state(one.id) for one in alike}
    alike = [one for one in alike if states[one.id].step is not None]
    alike.sort(key=lambda one: states[one.id].state not in ENDED)
    method = str(own.recipe["method"])
    others = tuple((one.id, one.name) for one in alike)
    found = {name: _fits(one, own) for name in (method, bands.DEMO) if (one := bands.read_shipped(name)) is not None}
    for name, (is_preset, fits) in sorted(found.items(), key=lambda one: one[1], reverse=True):
        return Offers(run, method, others, name if is_preset else "", fits)
    return Offers(run, method, others)


def read(project: ProjectFile, reference: Reference, names: frozenset[str]) -> Bands:
    """The bands of some curves; those that the reference has."""
    if reference.run is None:
        shipped = bands.read_shipped(reference.name)
        found = shipped.bands if shipped is not None else {}
        return Bands(reference, "", {name: band for name, band in found.items() if name in names})
    return Bands(reference, project.run(reference.run).name, bands.bands_of(project, reference.run, names))


def placed(band: Band, axis: Axis, steps: Values, x: Values, log: bool) -> Shade:
    """Put a band on a plot. steps, x: where the main run's steps lie; beyond them only the axis of steps goes on."""
    at = band.steps
    if axis != "step":
        if not len(steps):
            return NOTHING
        at = np.unique(np.clip(at, steps[0], steps[-1]))
    low, high = band.at(at)
    known = ~np.isnan(low)
    at, low, high = at[known], low[known], high[known]
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.where(low > 0, np.log10(low), -np.inf)
            high = np.where(high > 0, np.log10(high), -np.inf)
    return Shade(at if axis == "step" else np.interp(at, steps, x), low, high)


def place_of(band: Band, step: int, value: float) -> Place | None:
    """Where a value lies; None beyond the band, and of what is no number."""
    low, high = (float(side[0]) for side in band.at(np.array([float(step)])))
    if np.isnan([low, value]).any():
        return None
    return "below" if value < low else "above" if value > high else "inside"


def _is_alike(own: Run, other: Run) -> bool:
    """Whether two runs are of one method and teach from one teacher."""
    same_teacher = own.recipe["teacher"] == other.recipe["teacher"]
    if own.teacher_hash is not None and other.teacher_hash is not None:
        same_teacher = own.teacher_hash == other.teacher_hash
    return same_teacher and own.recipe["method"] == other.recipe["method"] and own.kind == other.kind


def _fits(shipped: Shipped, run: Run) -> tuple[bool, bool]:
    """(whether a run is of the preset, whether its batches are of the same size too)."""
    try:
        recipe = Recipe.from_values(run.recipe)
        training = Recipe.from_values(run.recipe | {"training": shipped.training}).training
    except RecipeError:  # of a newer program
        return False, False
    declared = run.declaration.get("properties", {})
    defaults = {name: about["default"] for name, about in declared.items() if "default" in about}
    settings = defaults | recipe.settings
    is_preset = (
        (recipe.method, recipe.kind) == (shipped.method, "train")
        and (recipe.teacher == shipped.teacher or run.teacher_hash == shipped.teacher_hash)
        and recipe.data in (None, shipped.teacher)
        and recipe.student.model_dump(mode="json") == shipped.student
        # What a later program adds does nothing at its default.
        and {**defaults, **shipped.settings} == settings
    )
    return is_preset, is_preset and recipe.training.samples_per_step == training.samples_per_step


def _between(at: float, x: Values, values: Values) -> float:
    """As `np.interp`, where a value may be -inf: what lies between it and another is too."""
    after = min(max(int(np.searchsorted(x, at)), 1), len(x) - 1) if len(x) > 1 else 0
    before = max(after - 1, 0)
    if x[after] == at or before == after:
        return float(values[after])
    if x[before] == at:
        return float(values[before])
    if np.isinf(values[[before, after]]).any():
        return -np.inf
    return float(np.interp(at, x[[before, after]], values[[before, after]]))
