"""Trains the first preset of methods on the bundled digits, and ships where their curves lay in `resources/curves`.

    python -m backend.bundled.reference_curves [demo] [METHOD ...]

The window shows such a band behind the curves of a run that was asked for the same. `demo`: the recipe of the demo.
Without a name it is trained, and all methods that can be on this teacher, minutes each. Seed 0, the real worker, and a
preview often enough for a curve of its own.
"""

import argparse
import hashlib
import tempfile
from pathlib import Path

from backend import demo, studio
from backend.contract import bands
from backend.contract.bands import Shipped
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.methods import load_method, method_names
from backend.proofs import sources_of
from backend.studio import WorkFailed

TEACHER = "digits"
PREVIEWS = 12
"""Of a run; they change nothing that is trained."""
SCORES = ("preview_frechet", "preview_sliced_wasserstein")


def recipe_of(name: str) -> Recipe:
    """A method's first preset, with batch and steps as it has them; or the demo's recipe."""
    if name == bands.DEMO:
        return Recipe.from_json(demo.RECIPE.read_bytes())
    method = load_method(name)
    preset = next(iter(method.presets.values()), None)
    training = {**method.training, **(preset.training if preset else {}), "seed": 0}
    training["preview_every"] = max(training["steps"] // PREVIEWS, 1)
    settings = method.settings.model_validate(dict(preset.settings) if preset else {})
    return Recipe.from_values(
        {
            "teacher": TEACHER,
            "method": name,
            "settings": settings.model_dump(mode="json"),
            "student": dict(preset.student) if preset else {},
            "training": training,
        }
    )


def measure(name: str, project: Path) -> Shipped:
    """Train it in a new project at that place; the bands of its curves.

    Raises `UserError` where it cannot be trained so, and `WorkFailed` where it did not come to its end.
    """
    recipe = recipe_of(name)
    studio.new(project)
    run = studio.start(project, recipe)
    state = studio.wait(project, run, lambda words: None)
    if state.state != "finished":
        raise studio.not_finished(run, state)
    with ProjectFile.open(project, readonly=True) as opened:
        found = bands.bands_of(opened, run)
        latest = opened.latest_metrics(run)
        teacher_hash = opened.run(run).teacher_hash
    score = next((one for one in SCORES if one in latest), "")
    return Shipped(
        method=recipe.method,
        preset="" if name == bands.DEMO else next(iter(load_method(name).presets), ""),
        teacher=recipe.teacher,
        teacher_hash=teacher_hash or "",
        settings=recipe.settings,
        student=recipe.student.model_dump(mode="json"),
        training=recipe.training.model_dump(mode="json"),
        score=(score, latest[score][1] if score else 0.0),
        code=hashlib.sha256(b"".join(file.read_bytes() for file in sources_of(recipe.method))).hexdigest(),
        bands={curve: one for curve, one in found.items() if not bands.is_of_the_machine(curve)},
    )


def main() -> None:
    """One method after the other, a line for each; what could not be trained is said and left as it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    for name in parser.parse_args().methods or (bands.DEMO, *method_names()):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # its process may still end
            try:
                found = measure(name, Path(folder) / "reference.distill")
            except (UserError, WorkFailed) as error:
                print(f"{name}: {error}", flush=True)
                continue
        bands.FOLDER.mkdir(exist_ok=True)
        file = bands.FOLDER / f"{name}.json"
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(found.to_json(), encoding="utf-8")
        unfinished.replace(file)
        curves = f"{len(found.bands)} curves, {file.stat().st_size / 1000:.1f} kB"
        score, value = found.score
        print(f"{name}: {score} {value:.3g} after {found.training['steps']} steps; {curves}", flush=True)


if __name__ == "__main__":
    main()
