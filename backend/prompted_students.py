"""Few-step students of the text-to-image teacher with its guidance folded in, for the same training budget.

Methods have their defaults, or their preset of as many steps. `distill bench prompts` prints the table.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backend import judge
from backend.assembly import start_run
from backend.contract.recipe import Recipe
from backend.equal_budget import put_down, ways
from backend.evaluate import EvaluationError
from backend.methods import load_method
from backend.networks import Denoiser, Guided
from backend.proofs import code_of, kept
from backend.samplers import Sampler, teacher_sampler
from backend.teachers import Teacher, load_teacher
from backend.train import NotFiniteError, train

TEACHER = "emoji"
GUIDANCE = 2.0
BUDGET = 40_000
"""Network evaluations on one sample each, a backward counted as two."""

BATCH = 16
NAMES = 500
FIGURES = ("agreement", "frechet")
FOLDED = {"guidance_scale": GUIDANCE}
TEACHER_STEPS = (1, 4, 50)


class Case(NamedTuple):
    """A method, how it is told the guidance, and for how many evaluations its student is made."""

    method: str
    guidance: Mapping[str, Any] = FOLDED
    nfe: int = 4


CASES = (
    Case("dmd2"),
    Case("decoupled_dmd"),
    Case("phased_dmd"),
    Case("tdm"),
    Case("sid"),
    Case("lcm", {**FOLDED, "guidance_low": 1.0, "guidance_high": 3.0}),
    Case("consistency"),
    Case("pcm"),
    Case("progressive"),
    Case("meanflow"),
    Case("swiftbrush", nfe=1),
    Case("snoopi", {"lowest_guidance": 1.0, "highest_guidance": 3.0}, nfe=1),
    Case("f_distill", nfe=1),
    Case("embedding_loss"),
    Case("msd"),
    Case("twinflow"),
    Case("adm"),
    Case("nitrofusion"),
)
"""Those that fold a teacher's guidance in; SNOOPI draws its scales at random, of which the middle is the others'."""


def row(case: Case, cells: Path) -> dict[str, Any]:
    """The row of the table. What is in the folder `cells` and of this code is not made again."""
    code = code_of(case.method, Path(__file__), Path(judge.__file__)) + load_teacher(TEACHER).digest
    return kept(cells / f"prompted-{case.method}-{case.nfe}", code, lambda: measure(case, cells / "prompted"))


def settings_of(case: Case) -> dict[str, Any]:
    """The method's settings: those of `equal_budget` for as many evaluations, and the guidance."""
    return {**ways(case.method)[case.nfe], **case.guidance}


def steps_of(case: Case, budget: int = BUDGET) -> int:
    """How many training steps the budget pays."""
    method = load_method(case.method)
    return max(1, int(budget / (method.cost(method.settings.model_validate(settings_of(case))) * BATCH)))


def measure(case: Case, sheets: Path | None = None, budget: int = BUDGET, names: int = NAMES) -> dict[str, Any]:
    """Train one student; its figures, those it had before, or the `problem` for which it has none.

    agreement: the share of samples nearest to the picture of their name. sheets: the folder where samples are put.
    """
    own = load_method(case.method).training
    training = {**own, "steps": steps_of(case, budget), "batch_size": BATCH, "preview_every": 0}
    asked = {"teacher": TEACHER, "method": case.method, "settings": settings_of(case), "training": training}
    run = start_run(Recipe.from_values(asked))
    row: dict[str, Any] = {"method": case.method, "nfe": case.nfe, "steps": training["steps"], "problem": ""}
    row["before"] = _figures(run.student, run.last_sampler, run.teacher, names)
    try:
        for _ in train(run):
            pass
        row["after"] = _figures(run.exported, run.last_sampler, run.teacher, names)
    except (NotFiniteError, EvaluationError) as error:
        return row | {"problem": str(error), "after": {}}
    if sheets is not None:
        put_down(run, sheets / f"{case.method}-{case.nfe}.png")
    return row


def teacher_rows(names: int = NAMES) -> Iterator[dict[str, Any]]:
    """The guided teacher's own figures; each of its steps is two evaluations."""
    teacher = load_teacher(TEACHER)
    guided = Guided(teacher.denoiser, GUIDANCE)
    for steps in TEACHER_STEPS:
        after = _figures(guided, teacher_sampler(steps), teacher, names)
        yield {"method": "teacher", "nfe": 2 * steps, "steps": 0, "problem": "", "before": {}, "after": after}


def _figures(net: Denoiser | Guided, sampler: Sampler, teacher: Teacher, names: int) -> dict[str, float | None]:
    found = judge.figures(net, sampler, teacher, names)
    assert found is not None  # of its prompts there are pictures to compare with
    return {name: found.values[name] for name in FIGURES}
