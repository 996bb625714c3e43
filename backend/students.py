"""What a person can do with a student, as functions: measure it, compare it, take it out of the project.

As in `backend.studio`, which is about projects and runs. Torch is imported when a network is needed, so that what can
be refused is refused at once.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.contract.errors import UserError, unknown
from backend.contract.project_file import NotInProject, ProjectFile, files_folder
from backend.progress import Progress, Report
from backend.studio import WorkFailed, find, require, writing

if TYPE_CHECKING:
    from backend.acceleration import Acceleration
    from backend.assembly import Student
    from backend.contract.rows import Sample
    from backend.exports import Facts
    from backend.samplers import Denoises, Sampler
    from backend.teachers import Teacher

EVALUATION_SAMPLES = 1000
LEAST_SAMPLES = 50
MOST_NFE = 250
LOADING = 0.95
"""Of an export until its check: what it takes to import torch and load the networks, as a student of digits has it."""
TIMED_BATCH, TIMED_REPEATS = 32, 4
SECONDS_PER_IMAGE = "seconds_per_image"
"""Among the figures of an evaluation: how fast, beside how good."""
WEIGHTS = {"ema": "average", "raw": "student"}
"""What a person calls the two kinds of a student's weights -> the network of a checkpoint that holds them."""


def student_of(
    path: Path,
    run: int,
    which: str = "best",
    nfe: int | None = None,
    weights: str | None = None,
    prompts: Sequence[str] | None = None,
) -> "Student":
    """The student of a run, at another number of evaluations than it was trained for where `nfe` says so.

    weights: a word of `WEIGHTS`; by default the average where one was kept. prompts: see `load_student`.
    """
    from backend.assembly import load_student  # noqa: PLC0415

    if weights is not None and weights not in WEIGHTS:
        raise UserError(unknown("kind of weights", weights, list(WEIGHTS)))
    with ProjectFile.open(path, readonly=True) as project:
        if weights == "ema" and not project.recipe(run).training.ema_decay:
            raise UserError(f"Run {run} kept no average of its weights (its ema_decay is 0); choose the raw weights.")
        student = load_student(project, run, which, WEIGHTS[weights] if weights else "", prompts)
    if nfe is None or nfe == student.sampler.nfe:
        return student
    return replace(student, sampler=_at_nfe(student, nfe))


def _at_nfe(student: "Student", nfe: int) -> "Sampler":
    from backend.samplers import even_levels, student_levels  # noqa: PLC0415

    trained, first = student.sampler, student.sampler.levels[0]
    if not 1 <= nfe <= MOST_NFE:
        raise UserError(f"{nfe} network evaluations are not possible; choose between 1 and {MOST_NFE}.")
    if student.method.only_as_trained(student.settings):
        raise UserError(
            f"A student of {student.method.title} is made for {trained.nfe} network evaluation"
            f"{'s' if trained.nfe > 1 else ''} alone and ruined by {nfe}; leave the number as trained."
        )
    if trained.kind == "renoise":
        return replace(trained, levels=student_levels(student.denoiser.path, nfe, first))
    return replace(trained, levels=tuple(first * level for level in even_levels(nfe)))


def evaluate(
    path: Path,
    run: int,
    which: str = "best",
    nfe: int | None = None,
    count: int = EVALUATION_SAMPLES,
    report: Report = lambda words: None,
    accelerate: str = "",
) -> dict[str, Any]:
    """Measure a student, its teacher at the same number of evaluations and in full, and keep the figures.

    accelerate: teacher and student, where it suits them (`Acceleration.suits`), are measured so too, in the form of
    `Acceleration.of`; these figures, which say `plain_rms`, how far samples are from those without it, are not kept.
    """
    from backend import judge  # noqa: PLC0415
    from backend.acceleration import Acceleration, refuse  # noqa: PLC0415
    from backend.samplers import teacher_sampler  # noqa: PLC0415

    require(path)
    if count < LEAST_SAMPLES:
        raise UserError(f"{count} samples are too few to measure; draw {LEAST_SAMPLES} or more.")
    student = student_of(path, run, which, nfe)
    teacher = student.teacher
    if not judge.can_measure(teacher):
        raise UserError(f"There is nothing to measure the samples of {teacher.title} against; compare them by eye.")
    seed, few, many = judge.EVALUATION_SEED, student.sampler.nfe, judge.TEACHER_NFE
    ways: dict[str, tuple[Denoises, Sampler]] = {
        "teacher": (teacher.guided, teacher_sampler(many)),
        "student": (student.denoiser, student.sampler),
        "teacher_at_student_nfe": (teacher.guided, teacher_sampler(few)),
    }
    how = Acceleration.of(accelerate) if accelerate else None
    plain = {f"{who}_accelerated": who for who in ("teacher", "student") if how and how.suits(ways[who][1])}
    for who, of in plain.items():
        assert how is not None
        refuse(ways[of][0], how)
        ways[who] = ways[of]
    timed = TIMED_BATCH * TIMED_REPEATS
    progress = Progress(sum(sampler.nfe for _, sampler in ways.values()) * (count + timed), report)
    samples, seconds = {}, {}
    for who, (net, sampler) in ways.items():

        def drawn(some: int, words: str = who.replace("_", " "), each: int = sampler.nfe) -> None:
            progress.add(some * each)
            progress.say(f"drawing {count} samples: {words}")

        quick = how if who in plain else None
        samples[who] = judge.draw_many(net, sampler, teacher, count, seed, drawn, quick)
        seconds[who] = _seconds_per_image(net, sampler, teacher, quick)
        progress.add(timed * sampler.nfe)
    labels = judge.asked_of(teacher, count)
    paired = {"student": samples["teacher"], **{who: samples[of] for who, of in plain.items()}}
    found = {
        who: judge.figures_of(drawn, labels, teacher, ways[who][1].nfe, seed, paired.get(who))
        for who, drawn in samples.items()
    }
    answer: dict[str, Any] = {"run": run, "step": student.step, "samples": count}
    if how is not None:
        answer["acceleration"] = str(how)
    with ProjectFile.open(path) as project, project.transaction():
        for who, figures in found.items():
            assert figures is not None  # it can be measured
            recipe = {key: value for key, value in asdict(figures).items() if key != "values"} | {"of": who}
            kept = {**figures.values, SECONDS_PER_IMAGE: seconds[who]}
            if who in plain:
                kept["plain_rms"] = kept.pop("teacher_rms")
            else:
                project.add_evaluation(run, student.step, recipe, kept)
            answer[who] = {"nfe": figures.nfe, **kept}
            answer["measured_in"] = figures.measured_in
    return answer


def _seconds_per_image(
    net: "Denoises", sampler: "Sampler", teacher: "Teacher", how: "Acceleration | None" = None
) -> float:
    """How long one picture takes on this machine, in batches of `TIMED_BATCH`."""
    from backend import judge  # noqa: PLC0415
    from backend.evaluate import latency  # noqa: PLC0415

    def make(size: int) -> object:
        return judge.draw(net, sampler, teacher, teacher.each_condition(size), judge.EVALUATION_SEED, how)

    return latency(make, [TIMED_BATCH], repeats=TIMED_REPEATS - 1, warm_up=1)[TIMED_BATCH]


def compare(path: Path, run: int, out: Path, which: str = "best") -> list[dict[str, Any]]:
    """Write teacher and student side by side to a PNG; name, NFE and seconds per image of each."""
    made: list[dict[str, Any]] = compare_all(path, [(run, which)], out=out)["sides"]
    return made


def compare_all(
    path: Path,
    chosen: Sequence[tuple[int, str]],
    *,
    out: Path | None = None,
    parts: Path | None = None,
    seed: int | None = None,
    teacher_nfe: int | None = None,
    accelerate: Sequence[str] = (),
    only: Sequence[str] = (),
    report: Report = lambda words: None,
) -> dict[str, Any]:
    """Teacher and any students, each a run and one of its checkpoints, from the same noise: as one picture, as a
    folder of parts, or both. accelerate: such as "deepcache:3". only: the prompts or classes to show.
    What is said of each side: `compare.describe`; of what their pictures answer: `compare.conditions`."""
    from backend import compare as comparison  # noqa: PLC0415
    from backend import judge, pictures  # noqa: PLC0415
    from backend.acceleration import Acceleration  # noqa: PLC0415
    from backend.teachers import load_teacher  # noqa: PLC0415

    seed = judge.PREVIEW_SEED if seed is None else seed
    teacher_nfe = judge.TEACHER_NFE if teacher_nfe is None else teacher_nfe
    out, parts = (place and place.expanduser() for place in (out, parts))
    _refuse_comparison(out, parts, seed, teacher_nfe)
    only = tuple(name.strip() for name in only)
    if not all(only):
        raise UserError("One of the prompts or classes to show is empty; leave it out.")
    accelerations = [Acceleration.of(text) for text in accelerate]
    with ProjectFile.open(path, readonly=True) as project:
        for run, which in chosen:  # all of them before the first is loaded, which takes seconds
            project.find_checkpoint(run, which)
        teachers = {project.recipe(run).teacher: project.run(run).name for run, _ in chosen}
    if len(teachers) > 1:
        comparison.refuse_other_kinds([(name, load_teacher(where)) for where, name in teachers.items()])
    students = [
        (f"run {run}", student_of(path, run, which, prompts=only or None)) for run, which in _reported(chosen, report)
    ]
    if len(students) == 1:
        students = [("Student", students[0][1])]
    else:
        with ProjectFile.open(path, readonly=True) as project:
            students = [(f"{project.run(s.run).name} at {s.step}", s) for _, s in students]
    teacher = students[0][1].teacher
    shown = comparison.sides(students, teacher_nfe, seed, report, accelerations, only)
    with writing(out or parts or path):
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(pictures.png(comparison.sheet(shown)))
        if parts is not None:
            comparison.write_parts(shown, teacher, seed, parts, only)
    return {
        "seed": seed,
        "teacher": teacher.title,
        "columns": comparison.COLUMNS,
        "conditions": comparison.conditions(teacher, only),
        "sides": comparison.describe(shown),
    }


def _reported(chosen: Sequence[tuple[int, str]], report: Report) -> Iterator[tuple[int, str]]:
    for number, (run, which) in enumerate(chosen, 1):
        report(f"loading run {run}, checkpoint {which} ({number} of {len(chosen)})")
        yield run, which


def _refuse_comparison(out: Path | None, parts: Path | None, seed: int, teacher_nfe: int) -> None:
    if out is None and parts is None:
        raise UserError("Name a picture to write with --out, or a folder with --parts.")
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"The picture {out} would be a PNG; give it a name that ends in .png.")
    if out is not None and out.is_dir():
        raise UserError(f"{out} is a folder; name a picture in it.")
    if parts is not None and parts.exists() and not parts.is_dir():
        raise UserError(f"{parts} is a file; name a folder for the parts.")
    if not 1 <= teacher_nfe <= MOST_NFE:
        raise UserError(f"{teacher_nfe} network evaluations are not possible; choose between 1 and {MOST_NFE}.")
    if not 0 <= seed < 2**63:
        raise UserError(f"The seed {seed} is not possible; choose 0 or a whole number above it.")


def find_student(path: Path, text: str, which: str = "best") -> tuple[int, str]:
    """A run and one of its checkpoints, named as RUN or RUN@CHECKPOINT; `which` where no checkpoint is named."""
    name, at, checkpoint = text.rpartition("@")
    if not at or not checkpoint or not name:
        return find(path, text).id, which
    try:
        return find(path, text).id, which  # a name may hold the sign itself
    except NotInProject:
        return find(path, name).id, checkpoint


def export(  # the whole of `distill export`'s request
    path: Path,
    run: int,
    form: str,
    out: Path,
    which: str = "best",
    nfe: int | None = None,
    weights: str | None = None,
    report: Report = lambda words: None,
    began: float | None = None,
) -> dict[str, Any]:
    """Export a student, check it in a fresh process where it can make pictures, and keep the record.

    began: when, as `Progress` takes it; what was done since then a fresh process does once more, so its time is known.
    Both sheets of pictures, ours and the fresh process's, are kept in the project's folder of files and named in the
    record relative to it.
    """
    from backend import exports  # noqa: PLC0415
    from backend.exports import verify  # noqa: PLC0415

    if form not in exports.FORMATS:
        raise UserError(unknown("format", form, exports.FORMATS))
    with ProjectFile.open(path) as project:  # what can be refused at once is not begun
        project.find_checkpoint(run, which)
    progress = Progress(2, report, began)
    progress.say("loading the student")
    student = student_of(path, run, which, nfe, weights)
    progress.add(LOADING)
    progress.say("writing the files and the preview's pictures")
    cond = student.teacher.each_exact_condition(exports.sheet_pictures(student.teacher.data_shape))
    made = exports.export(
        form,
        student.denoiser,
        student.sampler,
        cond,
        facts_of(path, student, weights),
        out.expanduser().absolute(),
        teacher=student.teacher,
    )
    answer: dict[str, Any] = {
        "run": run,
        "step": student.step,
        "nfe": student.sampler.nfe,
        "path": str(made.path),
        "format": form,
        "files": dict(made.hashes),
    }
    record: dict[str, Any] = {"step": student.step, "nfe": student.sampler.nfe, "weights": weights}
    problem = ""
    if made.unchecked:
        progress.add(progress.whole - LOADING)
        answer["unchecked"] = record["unchecked"] = made.unchecked
    else:
        progress.add(1 - LOADING)
        progress.say("loading the export in a fresh process with plain diffusers")
        folder = files_folder(path)
        sheets = folder / "exports" / f"run-{run}-{time.strftime('%Y%m%d-%H%M%S')}-{made.digest[:8]}"
        if made.promise is None:
            found = verify.verify(made.path, sheets)
        else:
            found = verify.verify_file(made.path, made.promise, sheets)
            record["snippet"] = made.promise.text
        answer["max_abs_difference"] = None if math.isnan(found.difference) else found.difference
        answer["tolerance"] = verify.TOLERANCE
        kept = {name: sheets / file for name, file in verify.SHEETS.items() if (sheets / file).is_file()}
        answer["sheets"] = {name: str(file) for name, file in kept.items()}
        record |= {name: answer[name] for name in ("max_abs_difference", "tolerance")}
        record["sheets"] = {name: file.relative_to(folder).as_posix() for name, file in kept.items()}
        if not found.sound:
            record["problem"] = problem = f"The export was written to {made.path}, but {found.sentence}"
    with ProjectFile.open(path) as project:
        project.add_export(run, form, str(made.path), made.digest, record)
    if problem:  # recorded all the same: its pictures show what is wrong
        raise WorkFailed(problem)
    return answer


def facts_of(path: Path, student: "Student", weights: str | None = None) -> "Facts":
    """What a student's model card says, with the newest figures of this checkpoint at these network evaluations.

    Where it was never evaluated, they are those of the run's own preview, named as such. weights: as in `student_of`;
    raw ones of a run that kept an average have no figures, as all are of the average.
    """
    from backend.exports import Facts, Measured  # noqa: PLC0415
    from backend.networks.adapters import size_in_words  # noqa: PLC0415

    with ProjectFile.open(path, readonly=True) as project:
        rows = [row for row in project.evaluations(student.run) if row.step == student.step]
        name = project.run(student.run).name
        shown = [row for row in project.samples_after(student.run) if row.step == student.step]
    if weights == "raw" and student.recipe.training.ema_decay:
        rows, shown = [], []
    rows = [row for row in rows if row.recipe["of"] == "teacher" or row.recipe["nfe"] == student.sampler.nfe]
    counts = [row.recipe["count"] for row in rows if row.recipe["of"] == "student"]
    # Figures of other numbers of samples may not stand beside the student's.
    newest = {row.recipe["of"]: row for row in rows if counts and row.recipe["count"] == counts[-1]}
    needs_data = "real data" in student.method.needs(student.settings)
    words = {"student": "student", "teacher_at_student_nfe": "teacher", "teacher": "teacher"}
    measured = tuple(
        Measured(words[who], row.recipe["nfe"], {k: v for k, v in row.figures.items() if v is not None})
        for who, row in newest.items()
    )
    by = next((f"{row.recipe['measured_in']}, {row.recipe['count']} samples" for row in newest.values()), "")
    preview = next((row.scores for row in reversed(shown) if _is_preview_of(student, row) and row.scores), None)
    if not measured and preview:
        measured = (Measured("student", student.sampler.nfe, preview),)
        by = f"the run itself, on the few samples of its preview at step {student.step}; `distill evaluate` takes more"
    return Facts(
        title=name,
        recipe=student.recipe,
        method=student.method.title,
        paper=student.method.paper,
        step=student.step,
        teacher=student.teacher.title,
        teacher_digest=student.teacher.digest,
        licence=student.teacher.licence,
        labels=student.teacher.labels,
        measured=measured,
        measured_by=by,
        picture=student.teacher.data_shape[1:] if len(student.teacher.data_shape) == 3 else None,
        adapters=size_in_words(student.denoiser),
        data=(student.recipe.data or student.teacher.data or "") if needs_data else "",
    )


def _is_preview_of(student: "Student", row: "Sample") -> bool:
    return row.kind == "preview" and row.sampler == student.sampler.to_json()
