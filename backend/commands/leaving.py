"""Students: measured, compared with their teacher, exported."""

from pathlib import Path
from typing import Annotated

import typer

from backend import students, studio
from backend.commands import Json, Project, RunName, Which, answer, say
from backend.progress import process_began
from backend.text_tables import number, table


def evaluate(
    project: Project,
    run: RunName,
    nfe: Annotated[int | None, typer.Option(help="Network evaluations; by default the student's own.")] = None,
    samples: Annotated[int, typer.Option(help="How many samples to draw.")] = students.EVALUATION_SAMPLES,
    checkpoint: Which = "best",
    accelerate: Annotated[
        str, typer.Option(help="Measure them accelerated too, without keeping it: as for compare.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Measure a student beside its teacher, and keep the figures."""
    path = studio.project_path(project)
    done = students.evaluate(path, studio.find(path, run).id, checkpoint, nfe, samples, say, accelerate)

    def show() -> None:
        heads = {
            "teacher_at_student_nfe": "teacher, same NFE",
            "student": "student",
            "student_accelerated": "student, accelerated",
            "teacher": "teacher",
            "teacher_accelerated": "teacher, accelerated",
        }
        who = [each for each in heads if each in done]
        names = dict.fromkeys(name for each in who for name, value in done[each].items() if value is not None)
        rows = [[name, *(number(done[each].get(name)) for each in who)] for name in names]
        table(rows, ["", *(heads[each] for each in who)])
        if "acceleration" in done:
            print(f"accelerated by {done['acceleration']}")
        print(f"step {done['step']}, {done['samples']} samples, measured in {done['measured_in']}")

    answer(done, as_json, show)


def compare(
    project: Project,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs by number or name; RUN@STEP, RUN@last.")],
    out: Annotated[Path | None, typer.Option(help="PNG of all sides.")] = None,
    parts: Annotated[Path | None, typer.Option(help="Folder for each picture by itself, with index.json.")] = None,
    checkpoint: Which = "best",
    seed: Annotated[int | None, typer.Option(help="Of the noise that all sides begin with.")] = None,
    teacher_nfe: Annotated[int | None, typer.Option(help="Network evaluations of the teacher in full.")] = None,
    accelerate: Annotated[
        list[str] | None,
        typer.Option(
            help="Show them accelerated too: deepcache:N[:BRANCH], encoder:N or :keys, repeat:N; may be given again."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Show this prompt, or class by its name, alone; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write teacher and students side by side, from the same noise."""
    path = studio.project_path(project)
    chosen = [students.find_student(path, run, checkpoint) for run in runs]
    done = students.compare_all(
        path,
        chosen,
        out=out,
        parts=parts,
        seed=seed,
        teacher_nfe=teacher_nfe,
        accelerate=accelerate or (),
        only=only or (),
        report=say,
    )
    rows = [
        [
            side["name"],
            f"{1000 * side['seconds_per_image']:.2f} ms",
            f"{side['speed_up']:.1f}",
            "-" if side["step"] is None else str(side["step"]),
            number(side["distance"]),
        ]
        for side in done["sides"]
    ]
    heads = ["", "per picture", "times faster", "step", "distance to the teacher in full; accelerated, to itself"]
    places = {"out": str(out) if out else None, "parts": str(parts) if parts else None}
    answer(places | done, as_json, lambda: table(rows, heads))


def export(
    project: Project,
    run: RunName,
    out: Annotated[Path, typer.Option(help="Folder or file to make.")],
    form: Annotated[str, typer.Option("--format", help="diffusers, safetensors or lora.")] = "diffusers",
    nfe: Annotated[int | None, typer.Option(help="Network evaluations; by default the student's own.")] = None,
    checkpoint: Which = "best",
    weights: Annotated[
        str | None, typer.Option(help="ema (averaged) or raw; by default the average where one was kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a student, and check in a fresh process that it makes the preview's pictures, where it can make any."""
    path = studio.project_path(project)
    done = students.export(path, studio.find(path, run).id, form, out, checkpoint, nfe, weights, say, process_began())

    def show() -> None:
        print(done["path"])
        if "max_abs_difference" in done:
            print(f"plain diffusers differs from the preview by at most {done['max_abs_difference']:.1e}")
        if "unchecked" in done:
            print(done["unchecked"])

    answer(done, as_json, show)
