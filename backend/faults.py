"""Faults put into runs on purpose, and sound runs beside them: whether health names the first and not the second.

`distill bench health` prints the table, `pytest -m long` checks it. Each run is short, on a bench in the plane whose
answers are known or on the bundled digits; the seeds are fixed.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backend.contract.recipe import Training
from backend.diagnostics import Diagnostics, guidance_reading, teacher_reading
from backend.health import Finding, Seen, findings, not_finite
from backend.methods import Batch, Update, load_method
from backend.networks import Condition, Denoiser, Guided, Prediction
from backend.networks.heads import Heads
from backend.noise import Path as NoisePath
from backend.noise import VariancePreserving, cosine_betas
from backend.proofs import code_of, kept
from backend.proofs.benches import BENCHES, Bench
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser
from backend.train import NotFiniteError, Run, start, train

STEPS = 200
"""Within which a fault must be named."""
BATCH = 48
BROKEN_AT = 60
"""Steps of a run that is sound at first."""


@dataclass(frozen=True)
class Case:
    """A run for the table. fault: what is wrong with it, empty of a sound one. sign: the one that must name it.

    bench: a name of `benches.BENCHES`. settings, training: what differs from the method's own.
    teacher: made of the bench's own. change: what is done to the run before its first step.
    """

    method: str
    bench: str
    fault: str = ""
    sign: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    teacher: Callable[[Bench], Teacher] = lambda bench: bench.teacher
    change: Callable[[Run], None] = lambda run: None
    seed: int = 0

    @property
    def key(self) -> str:
        """A name for its finished cell."""
        return "-".join((self.fault or "sound", self.method, self.bench, str(self.seed))).replace(" ", "_")


# What is put in


def _rate(net: str, factor: float) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for group in run.optimizers[net].param_groups:
            group["lr"] *= factor

    return change


class _Misread(Denoiser):
    """A network that was trained on one path and type and is read as if it had been another's."""

    def __init__(self, net: Denoiser, path: NoisePath, kind: Any) -> None:
        super().__init__(net.network, path, kind, net.sigma_data)
        self.trained = [net]  # in a list, so that its parameters are counted once

    def forward(self, noised: Tensor, t: Tensor, cond: Condition) -> Prediction:
        net = self.trained[0]
        if isinstance(net, ClosedFormDenoiser):
            output = net.network.answer(noised, t, cond)
        else:
            output = self.network(noised, self.path.network_time(t), cond)
        return Prediction(noised, output, t, self.path, self.prediction_type, self.sigma_data)


def _misread(bench: Bench, path: NoisePath | None = None, kind: str = "") -> Teacher:
    """The bench's teacher with a wrong scheduler configuration; what starts as it is as wrong."""

    def wrong(net: Denoiser) -> Denoiser:
        return _Misread(net, path or net.path, kind or net.prediction_type)

    teacher = bench.teacher
    return replace(teacher, denoiser=wrong(bench.exact).frozen(), trainable=lambda: wrong(teacher.trainable()))


def _unguided(run: Run) -> None:
    for net in vars(run.nets).values():
        if isinstance(net, Guided):
            net.scale = 1.0


def _deaf(bench: Bench) -> Teacher:
    """A teacher whose empty condition is no other than the condition itself."""
    denoiser = copy.copy(bench.exact).frozen()  # the bench itself is for other cases too
    denoiser.null = lambda cond: cond  # type: ignore[method-assign]
    return replace(bench.teacher, denoiser=denoiser)


def _in_student(change: Callable[[Update, int], Update]) -> Callable[[Run], None]:
    """Each update of the student is replaced by what `change` makes of it and of the number of its step."""

    def put_in(run: Run) -> None:
        step = run.method.step

        def changed(nets: Any, batch: Batch, s: Any) -> Iterator[Update]:
            for update in step(nets, batch, s):
                yield change(update, batch.step) if update.nets[0] is nets.student else update

        run.method = replace(run.method, step=changed)

    return put_in


def _not_a_number(update: Update, step: int) -> Update:
    broken = {name: term * float("nan") if step >= BROKEN_AT else term for name, term in update.losses.items()}
    return replace(update, losses=broken)


def _alike(update: Update, step: int) -> Update:
    """A term that draws a batch's samples together, as what a student gains by agreeing with itself."""
    if step < BROKEN_AT or update.sample is None:
        return update
    return replace(update, losses={"agreement": 10 * update.sample.var(0).mean()})


def _outward(update: Update, step: int) -> Update:
    """A term that has every value of a batch's samples grow, as over-sharpened pictures do that saturate."""
    if step < BROKEN_AT or update.sample is None:
        return update
    return replace(update, losses={"growth": -0.3 * update.sample.square().mean()})


class _Mute(nn.Module):
    """Heads that give every sample the same answer."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, maps: Any) -> Tensor:
        return self.heads(maps) * 1e-6 - 1.0  # type: ignore[no-any-return]


def _mute(run: Run) -> None:
    found = run.nets.discriminator
    if isinstance(found, nn.ModuleList):
        for i, heads in enumerate(found):
            found[i] = _Mute(heads)  # type: ignore[arg-type]
    else:
        found.forward = _Mute(found).forward


COSINE = VariancePreserving.of_betas(cosine_betas())
"""In place of the linear betas of the bench."""

FAULTS = (
    Case("dmd2", "ring", "fake score x10", "fake_score_off", change=_rate("fake_score", 10)),
    Case("tdm", "ring8:flow", "fake score x10", "fake_score_off", change=_rate("fake_score", 10)),
    Case("dmd2", "ring:v_prediction", "prediction type", "teacher_type", teacher=partial(_misread, kind="epsilon")),
    Case(
        "consistency", "ring:v_prediction", "prediction type", "teacher_type", teacher=partial(_misread, kind="sample")
    ),
    Case("dmd2", "wide", "guidance off", "guidance_off", {"guidance_scale": 3.0}, change=_unguided),
    Case("consistency", "wide", "guidance off", "guidance_off", {"guidance_scale": 2.0}, teacher=_deaf),
    Case("tdm", "ring8:flow", "not a number", "not_finite", change=_in_student(_not_a_number)),
    Case("gdd", "ring", "dead discriminator", "discriminator_dead", change=_mute),
    Case("f_distill", "ring", "dead discriminator", "discriminator_dead", change=_rate("discriminator", 0)),
    Case(
        "dmd2",
        "ring:v_prediction",
        "noise schedule",
        "teacher_schedule",
        teacher=partial(_misread, path=COSINE),
    ),
    Case("dmd2", "ring", "student still", "student_still", change=_rate("student", 0)),
    Case("consistency", "ring8:flow", "student still", "student_still", change=_rate("student", 0)),
    Case("tdm", "ring8:flow", "variety lost", "diversity_falls", change=_in_student(_alike)),
    Case("dmd2", "ring", "variety lost", "diversity_falls", change=_in_student(_alike)),
    Case("tdm", "ring8:flow", "values grow", "saturated", change=_in_student(_outward)),
    Case("dmd2", "ring", "values grow", "saturated", change=_in_student(_outward)),
)
"""Each of the nine faults, most in two methods."""

SOUND = (
    Case("dmd2", "ring", seed=1),
    Case("dmd2", "ring8:flow", settings={"student_steps": 4, "fake_score_updates": 2}, seed=2),
    Case("dmd2", "wide", settings={"guidance_scale": 2.0}, seed=3),
    Case("tdm", "ring8:flow", seed=4),
    Case("sid", "ring", seed=5),
    Case("f_distill", "ring", seed=6),
    Case("gdd", "ring", seed=7),
    Case("swiftbrush", "ring:v_prediction", seed=8),
    Case("consistency", "ring8:flow", seed=9),
    Case("consistency", "wide", settings={"guidance_scale": 2.0}, seed=10),
    Case("dmd2", "ring:v_prediction", seed=11),
)


# The table


def told(case: Case) -> list[tuple[int, Finding]]:
    """Every finding that is not good, with the step after which it was first said; of a case's whole run."""
    bench, method = BENCHES[case.bench](), load_method(case.method)
    settings = method.settings.model_validate(dict(case.settings))
    values = {**method.training, "batch_size": BATCH, "preview_every": 0, **case.training}
    asked = Training.model_validate({**values, "steps": STEPS, "seed": case.seed})
    teacher = case.teacher(bench)
    run = start(method, settings, asked, teacher, teacher.draws, torch.device("cpu"))
    case.change(run)
    return list(watched(run))


def watched(run: Run) -> Iterator[tuple[int, Finding]]:
    """What the run's worker would say, without previews: each sign when it is first not good."""
    seen, diagnostics, known = Seen(), Diagnostics(run), set[str]()
    seen.teacher, seen.guidance = teacher_reading(run), guidance_reading(run)
    try:
        for progress in train(run):
            seen.add_step({name: float(value) for name, value in progress.metrics.items()})  # type: ignore[arg-type]
            if diagnostics.due:
                seen.add_readings(run.step, diagnostics.look())
                for finding in findings(seen, run.step):
                    if finding.level != "good" and finding.sign not in known:
                        known.add(finding.sign)
                        yield run.step, finding
    except NotFiniteError as error:
        yield run.step, not_finite(str(error), -1)


def row(case: Case, cells: Path) -> dict[str, Any]:
    """The row of the table. What is in the folder `cells` and of this code is not made again."""
    said = kept(cells / f"health-{case.key}", code_of(case.method, *_own_files()), lambda: _said(case))["said"]
    named = [one for one in said if one["sign"] == case.sign]
    others = [one["sign"] for one in said if one["sign"] != case.sign]
    first = named[0] if named else {"step": None, "reading": ""}
    return {
        "fault": case.fault or "none",
        "method": case.method,
        "bench": case.bench,
        "sign": case.sign,
        "step": first["step"],
        "reading": first["reading"] or "; ".join(one["reading"] for one in said),
        "others": others,
        "ok": bool(named) if case.fault else not said,
    }


def _own_files() -> list[Path]:
    folder = Path(__file__).parent
    return [folder / "faults.py", folder / "diagnostics.py", *sorted((folder / "health").glob("*.py"))]


def _said(case: Case) -> dict[str, Any]:
    said = [{"step": step, "sign": f.sign, "level": f.level, "reading": f.reading} for step, f in told(case)]
    return {"said": said}
