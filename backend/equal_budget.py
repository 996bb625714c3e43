"""Every few-step method on the bundled digits for the same number of network evaluations, with three seeds.

Each method has its defaults, or the preset that is meant for that many steps: nothing is picked by a figure. Finished
cells are kept, and those that were made for the README are shipped, so that the table goes on where it was.
"""

import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from backend import evaluate, judge, pictures
from backend.assembly import Student, start_from, start_run
from backend.contract.recipe import Recipe
from backend.contract.settings import Settings
from backend.evaluate import EvaluationError
from backend.methods import load_method, method_names
from backend.proofs import kept, sources_of
from backend.resources import RESOURCES
from backend.samplers import teacher_sampler
from backend.teachers import load_teacher
from backend.train import NotFiniteError, Run, train

VERSION = 1
"""Goes up when what methods share changes so that a student would come out otherwise."""

BUDGET = 240_000
"""Network evaluations on one sample each, a backward counted as two; the demo has 352,000."""

PAIRS = {"count": 4000, "steps": 20}
"""Of methods that learn from noise/sample pairs; a third of the budget."""

SEEDS = (0, 1, 2)
STEPS: Mapping[str, tuple[int, ...]] = {"distribution matching": (1, 4)}
OTHER_STEPS = (1, 2, 4)
"""Network evaluations of the students by family, and of all others."""
SAMPLES = 1000
TEACHER_STEPS = (1, 2, 4, judge.TEACHER_NFE)
SHIPPED = RESOURCES / "figures" / "equal-budget.json"


class Cell(NamedTuple):
    """One student: the method, its settings, how many evaluations it takes, and the seed of its training.

    longer: its own training, whatever the budget, of a student that is shown beside the others. after: the method
    whose student it starts from, for as many evaluations; that has half of the budget. variant: what is other about
    its settings, where they are not those that are meant for so many evaluations.
    """

    method: str
    settings: Mapping[str, Any]
    nfe: int
    seed: int
    longer: Mapping[str, Any] = {}
    after: str = ""
    variant: str = ""

    @property
    def _kind(self) -> str:
        return "longer" if self.longer else f"after {self.after}" if self.after else self.variant

    @property
    def name(self) -> str:
        """The method's in the table."""
        return f"{self.method} ({self._kind})" if self._kind else self.method

    @property
    def key(self) -> str:
        """Its name among the kept ones."""
        return "-".join((self.method, str(self.nfe), str(self.seed), *self._kind.split()))


LONGER = {"sid": {"steps": 900, "learning_rate_schedule": "cosine"}}
"""Whose one-step students are trained longer too, about twice the budget: the best that was found on `digits`."""


VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "dmd2": {"own rollouts": {"shared_rollout": False}},
    "sid": {"shared rollout": {"shared_rollout": True}},
}
"""By method and name the settings of a student that is shown beside the others: the effect of an option."""


CHAINED = {"adm": {1: "adm_pretraining"}, "nitrofusion": {1: "dmd2", 4: "dmd2"}}
"""What is meant to start from another student, and is shown so beside its start from the teacher."""


def cells(methods: Sequence[str] = (), seeds: Sequence[int] = SEEDS) -> Iterator[Cell]:
    """What there is to measure, seed by seed, so that a table that is stopped is narrow and not short."""
    for seed in seeds:
        for name in methods or method_names():
            for nfe, settings in ways(name).items():
                yield Cell(name, settings, nfe, seed)
                if nfe == 1 and name in LONGER:
                    yield Cell(name, settings, nfe, seed, LONGER[name])
                if nfe in CHAINED.get(name, {}):
                    yield Cell(name, settings, nfe, seed, after=CHAINED[name][nfe])
                for variant, other in VARIANTS.get(name, {}).items():
                    yield Cell(name, {**settings, **other}, nfe, seed, variant=variant)


def ways(name: str) -> dict[int, dict[str, Any]]:
    """By number of evaluations the settings of a method; none of one whose students take many."""
    method = load_method(name)
    fields = method.settings.model_fields
    if "student_steps" not in fields:
        default = method.settings()
        nfe = method.sampler(default, load_teacher("digits").denoiser).nfe
        return {nfe: {}} if nfe <= max(OTHER_STEPS) else {}
    if fields["student_steps"].default > max(OTHER_STEPS):
        return {}
    meant = {p.settings["student_steps"]: p.settings for p in method.presets.values() if "student_steps" in p.settings}
    found = {nfe: {"student_steps": nfe, **meant.get(nfe, {})} for nfe in STEPS.get(method.family, OTHER_STEPS)}
    return {nfe: settings for nfe, settings in found.items() if _is_valid(method.settings, settings)}


def _is_valid(settings: type[Settings], values: Mapping[str, Any]) -> bool:
    try:
        settings.model_validate(dict(values))
    except ValidationError:  # some cannot do with so few
        return False
    return True


def steps_of(cell: Cell, budget: float = BUDGET) -> int:
    """How many training steps the budget pays, after the pairs that the method learns from; or those of its own."""
    if cell.longer:
        return int(cell.longer["steps"])
    method = load_method(cell.method)
    settings = method.settings.model_validate(dict(cell.settings))
    spent = PAIRS["count"] * PAIRS["steps"] if "pairs" in method.needs(settings) else 0
    return int((budget - spent) / (method.cost(settings) * method.training["batch_size"]))


def measure(cell: Cell, sheet: Path | None = None) -> dict[str, Any]:
    """Train and judge one student; its figures, or the `problem` for which it has none. sheet: where its samples go."""
    row: dict[str, Any] = {"method": cell.name, "nfe": cell.nfe, "seed": cell.seed}
    try:
        run = _trained(cell)
        row["steps"] = run.step
        found = judge.figures(run.exported, run.last_sampler, run.teacher, SAMPLES)
    except (NotFiniteError, EvaluationError) as error:
        return row | {"problem": str(error), "figures": {}}
    assert found is not None  # of digits there are pictures to compare with
    if sheet is not None:
        put_down(run, sheet)
    return row | {"problem": "", "figures": dict(found.values)}


def _trained(cell: Cell) -> Run:
    """The cell's run after its last step. Raises `NotFiniteError`."""
    if not cell.after:
        return _finished(start_run(recipe_of(cell, BUDGET)))
    first = recipe_of(Cell(cell.after, ways(cell.after)[cell.nfe], cell.nfe, cell.seed), BUDGET / 2)
    student = Student.of(_finished(start_run(first)), first)
    run = start_run(recipe_of(cell, BUDGET / 2))
    start_from(run, student)
    return _finished(run)


def put_down(run: Run, sheet: Path) -> None:
    """The preview's samples of a run's student as a picture, to be looked at."""
    cond = run.teacher.each_condition(judge.PREVIEW_SAMPLES)
    drawn = judge.draw(run.exported, run.last_sampler, run.teacher, cond, judge.PREVIEW_SEED)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    pictures.sheet(drawn, 10, pictures.GAP).save(sheet)


def _finished(run: Run) -> Run:
    for _ in train(run):
        pass
    return run


def recipe_of(cell: Cell, budget: float) -> Recipe:
    """What its run is asked to be, for that many network evaluations."""
    own = {**load_method(cell.method).training, **cell.longer}
    training = {**own, "seed": cell.seed, "preview_every": 0, "steps": steps_of(cell, budget)}
    asked = {"teacher": "digits", "method": cell.method, "settings": dict(cell.settings), "pairs": PAIRS}
    return Recipe.from_values({**asked, "training": training})


def code_of(cell: Cell) -> str:
    """SHA-256 of what its figures depend on: the methods' files, the teacher, how it is trained and judged."""
    sources = sources_of(cell.method) + (sources_of(cell.after) if cell.after else [])
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources))
    about = (
        VERSION,
        BUDGET,
        PAIRS,
        SAMPLES,
        evaluate.VERSION,
        load_teacher("digits").digest,
        dict(cell.settings),
        *([dict(cell.longer)] if cell.longer else []),
    )
    digest.update(json.dumps(about).encode())
    return digest.hexdigest()


def row_of(cell: Cell, folder: Path, shipped: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's row: shipped, or kept in `folder`, where either is of this code, else measured now."""
    code = code_of(cell)
    found = shipped.get(cell.key)
    if found and found["code"] == code:
        return dict(found)
    return kept(folder / cell.key, code, lambda: measure(cell, folder / f"{cell.key}.png")) | {"code": code}


def read_shipped() -> dict[str, Any]:
    """By their keys the rows that came with the program, of whatever code."""
    return json.loads(SHIPPED.read_text(encoding="utf-8")) if SHIPPED.is_file() else {}


def teacher_rows() -> list[dict[str, Any]]:
    """The teacher's own figures, beside which the students' stand."""
    teacher = load_teacher("digits")
    rows = []
    for nfe in TEACHER_STEPS:
        figures = judge.figures(teacher.denoiser, teacher_sampler(nfe), teacher, SAMPLES)
        assert figures is not None
        rows.append({"method": "teacher", "nfe": nfe, "seed": 0, "problem": "", "figures": dict(figures.values)})
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each method and number of evaluations the mean over seeds, how far they spread, and what went wrong.

    spread: of the Frechet distance, the largest less the smallest.
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["nfe"]), []).append(row)
    found = []
    for (method, nfe), group in sorted(groups.items()):
        good = [row["figures"] for row in group if row["figures"]]
        line: dict[str, Any] = {"method": method, "nfe": nfe, "seeds": len(good), "failed": len(group) - len(good)}
        for name in ("frechet", "precision", "recall", "class_accuracy"):
            line[name] = statistics.fmean(figures[name] for figures in good) if good else math.nan
        distances = [figures["frechet"] for figures in good]
        found.append(line | {"spread": max(distances) - min(distances) if good else math.nan})
    return found
