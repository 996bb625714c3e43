"""Students that answer in one evaluation what a guided teacher answers in two, against that teacher.

Same noise, classes and sampler, so the student has half of the teacher's evaluations; each method has its defaults.
`distill bench guidance` prints the table.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from backend import judge
from backend.assembly import start_run
from backend.contract.recipe import Recipe
from backend.methods import load_method
from backend.networks import Guided
from backend.networks.adapters import own_parameters
from backend.proofs import code_of, kept
from backend.samplers import Sampler
from backend.teachers import load_teacher
from backend.train import train

METHODS = ("guidance", "adapter_guidance", "lora_guidance")


class Case(NamedTuple):
    """A method on a bundled teacher. training: what differs from its own. samples: by which both are judged."""

    method: str
    teacher: str = "digits"
    training: Mapping[str, Any] = {}
    samples: int = 1000


CASES = (
    *map(Case, METHODS),
    Case("guidance", "emoji", {"steps": 400, "batch_size": 16}, samples=500),
    Case("adapter_guidance", "emoji", {"steps": 400, "batch_size": 16}, samples=500),
)


def row(case: Case, cells: Path) -> dict[str, Any]:
    """The row of the table. What is in the folder `cells` and of this code is not made again."""
    code = code_of(case.method, Path(__file__), Path(judge.__file__)) + load_teacher(case.teacher).digest
    return kept(cells / f"guided-{case.method}-{case.teacher}", code, lambda: measure(case))


def measure(case: Case) -> dict[str, Any]:
    """Train one student, and judge it beside its guided teacher.

    guidance: the scale. nfe, teacher_nfe: evaluations for a picture. agreement: share of pictures that show what was
    asked for. rms: of the difference to the guided teacher's pictures, of values in [-1, 1]. teacher_...: the guided
    teacher's; unguided_...: the teacher's without guidance. adapters: their parameters as a share of the network's,
    None where the student is a whole network.
    """
    training = {**load_method(case.method).training, "preview_every": 0, **case.training}
    run = start_run(Recipe.from_values({"teacher": case.teacher, "method": case.method, "training": training}))
    for _ in train(run):
        pass
    scale, sampler = _guidance(run.last_sampler), run.last_sampler
    guided, plain = Guided(run.teacher.denoiser, scale), Sampler(sampler.kind, sampler.levels)
    theirs = judge.draw_many(guided, plain, run.teacher, case.samples, judge.EVALUATION_SEED)
    asked = judge.asked_of(run.teacher, case.samples)
    full = judge.figures_of(theirs, asked, run.teacher, 2 * plain.nfe, judge.EVALUATION_SEED)
    found, without = (
        judge.figures(net, how, run.teacher, case.samples, paired=theirs)
        for net, how in ((run.exported, sampler), (run.teacher.denoiser, plain))
    )
    assert full is not None
    assert found is not None  # of bundled teachers there are pictures to compare with
    assert without is not None
    adapters = sum(p.numel() for p in own_parameters(run.student))
    whole = sum(p.numel() for p in run.teacher.denoiser.parameters())
    return {
        "teacher": case.teacher,
        "method": case.method,
        "steps": training["steps"],
        "guidance": scale,
        "nfe": sampler.nfe,
        "teacher_nfe": 2 * plain.nfe,
        **{
            f"{whose}{name}": figures.values[name]
            for whose, figures in (("", found), ("teacher_", full), ("unguided_", without))
            for name in ("agreement", "frechet")
        },
        "rms": found.values["teacher_rms"],
        "unguided_rms": without.values["teacher_rms"],
        "adapters": adapters / whole if adapters else None,
    }


def rows(cells: Path, cases: tuple[Case, ...] = CASES) -> Iterator[dict[str, Any]]:
    """All rows, as they come."""
    for case in cases:
        yield row(case, cells)


def _guidance(sampler: Sampler) -> float:
    if sampler.guidance is None:
        raise ValueError("The student is told no guidance scale, so it is not known which teacher it follows.")
    return sampler.guidance
