"""What a person can do with a project, as functions: the command line parses and prints, these act.

Each opens the project for as long as it needs it. They raise `UserError` for what a person can mend. What needs a
network is in `backend.students`, because a list of runs must not take seconds.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from backend.contract import launch
from backend.contract.errors import UserError, unknown
from backend.contract.project_file import NotInProject, ProjectFile
from backend.contract.recipe import Pairs, Recipe, RecipeError, Training
from backend.contract.recipe import Student as StudentPart
from backend.contract.rows import VIEWS, Run, RunState, Verb
from backend.contract.settings import Settings
from backend.progress import Progress, Report

FOLLOW_SECONDS = 0.2
"""A worker answers through the project file, which calls nobody: so it is read again."""

REPORT_SECONDS = 2.0
RESUME_SECONDS = 10.0
ANSWER_SECONDS = 60.0


class WorkFailed(RuntimeError):
    """What was asked was right and the work failed; the text says how."""


class Interrupted(RuntimeError):
    """The work was stopped because someone asked for that."""


def not_finished(run: int, state: RunState) -> WorkFailed | Interrupted:
    """What to raise for a run that ended otherwise."""
    words = f"Run {run} is {state.state}: {state.reason}"
    return Interrupted(words) if state.state == "stopped" else WorkFailed(words)


def project_path(text: str) -> Path:
    """The path of a project, with its suffix added where it was left out."""
    path = Path(text).expanduser()
    return path if path.suffix == ".distill" or path.exists() else path.with_name(path.name + ".distill")


def new(path: Path) -> None:
    """Make an empty project."""
    ProjectFile.create(path).close()


def require(path: Path) -> None:
    """Raises `ProjectFileError` where there is no project that can be opened: said before anything heavy is done."""
    ProjectFile.open(path).close()


def recipe_of(  # the whole of `distill run`'s request
    base: Path | None,
    teacher: str | None,
    method: str | None,
    data: str | None,
    settings: dict[str, Any],
    training: dict[str, Any],
    prompts: str | None = None,
) -> Recipe:
    """A recipe from a file, or else from a teacher and a method with the training values that suit it; changed by
    what is given beside it.

    `settings` may name training values too (`steps`, `batch_size`, ...), which every method has, and with their part's
    name those of the student and of the pairs (`student.kind`, `pairs.count`).
    """
    from backend.assembly import find_method  # noqa: PLC0415

    if base is not None:
        try:
            given = Recipe.from_json(base.read_bytes()).model_dump(mode="json")
        except OSError as error:
            raise RecipeError(f"The recipe {base} cannot be read ({error.strerror}); check its name.") from error
    elif teacher is None or method is None:
        raise RecipeError("Name a teacher and a method, or a recipe file that does.")
    else:
        given = {"settings": {}, "training": dict(find_method(method).training)}
    named = {"teacher": teacher, "method": method, "data": data, "prompts": prompts}
    given |= {name: value for name, value in named.items() if value is not None}
    if settings:
        places = _places(list(find_method(given["method"]).settings.model_fields))
        for name, value in settings.items():
            if name not in places:
                raise RecipeError(unknown("setting", name, list(places)))
            part, own = places[name]
            given[part] = {**given.get(part, {}), own: value}
    given["training"] = {**given["training"], **training}
    return Recipe.from_values(given | {name: _from_here(given.get(name)) for name in ("teacher", "data", "prompts")})


def _places(own: list[str]) -> dict[str, tuple[str, str]]:
    """By the name that `--set` takes: the part of a recipe, and the name there. own: of the method's settings."""
    parts: dict[str, type[Settings]] = {"student": StudentPart, "pairs": Pairs}
    dotted = {f"{part}.{name}": (part, name) for part, model in parts.items() for name in model.model_fields}
    return {**dotted, **{name: ("training", name) for name in Training.model_fields}} | {
        name: ("settings", name) for name in own
    }


def _from_here(where: str | None) -> str | None:
    """A path in full, because the worker runs in the project's folder; the name of something bundled as it is."""
    from backend import teachers  # noqa: PLC0415
    from backend.resources import BUNDLED_DATA  # noqa: PLC0415
    from backend.teachers.prompt_lists import LISTS  # noqa: PLC0415

    if not where or where in (*teachers.BUNDLED, *BUNDLED_DATA, *LISTS) or not Path(where).expanduser().exists():
        return where
    return str(Path(where).expanduser().absolute())


def start(
    path: Path, recipe: Recipe, name: str | None = None, report: Report | None = None, waits: bool = False
) -> int:
    """Check a recipe, add it to the project as a run and start its process; the run's id. Warnings are reported.

    waits: it goes to the end of the queue, and is started once those before it have ended.
    """
    from backend.assembly import find_method  # noqa: PLC0415
    from backend.preflight import preflight  # noqa: PLC0415

    require(path)
    if name is not None and (not name.strip() or name.isdecimal()):
        raise UserError(f"A run cannot be named {name!r}, because a bare number means the run of it; add a word.")
    found = preflight(recipe, path, dry_run=False, report=report or (lambda words: None))
    if not found.ok:
        raise RecipeError(" ".join(one.words for one in found.problems))
    if report is not None:
        for one in found.warnings:
            report(f"warning: {one.words}")
    settings = find_method(recipe.method).settings
    # Defaults too, so that the run stays what it was when a later version has others.
    whole = recipe.model_copy(update={"settings": settings.model_validate(recipe.settings).model_dump(mode="json")})
    with ProjectFile.open(path) as project:
        run = project.add_run(whole, name=name, declaration=settings.model_json_schema())
    if waits:
        launch.enqueue(path, run)
    else:
        launch.start_worker(path, run)
    return run


@dataclass(frozen=True)
class Watched:
    """A run at a moment: its state, its steps, and the newest value of every curve."""

    run: int
    state: RunState
    steps: int
    metrics: dict[str, tuple[int, float]]


def follow(path: Path, run: int) -> Iterator[Watched]:
    """The run again and again, until its process is gone."""
    state = launch.wait_for_start(path, run)
    with ProjectFile.open(path, readonly=True) as project:
        while True:
            state, steps = project.run_state(run), project.training(run).steps
            yield Watched(run, state, steps, project.latest_metrics(run))
            if not state.is_live:
                return
            time.sleep(FOLLOW_SECONDS)  # rows are looked at anew: SQLite notifies no other process


def find(path: Path, text: str) -> Run:
    """The run with that id or name. Raises `ProjectFileError`, with the closest name, where there is none."""
    with ProjectFile.open(path, readonly=True) as project:
        try:
            return project.find_run(text)
        except NotInProject as error:
            close = get_close_matches(text, [run.name for run in project.runs()], n=1)
            if not close:
                raise
            raise NotInProject(f"There is no run {text} in {path.name}; did you mean {close[0]}?") from error


def resume(path: Path, run: int) -> RunState:
    """Let a run go on; its state once its process has taken over, or a paused one has woken."""
    launch.resume(path, run)
    state = launch.wait_for_start(path, run)
    deadline = time.monotonic() + RESUME_SECONDS
    while state.state == "paused" and time.monotonic() < deadline:
        time.sleep(FOLLOW_SECONDS)  # as in `follow`
        with ProjectFile.open(path, readonly=True) as project:
            state = project.run_state(run)
    return state


def go_back(path: Path, run: int, which: str, changes: Mapping[str, Any]) -> RunState:
    """Let a run go on from an earlier checkpoint with changed settings; its state once its process has taken over."""
    launch.go_back(path, run, which, changes)
    return launch.wait_for_start(path, run)


def runs(path: Path) -> list[dict[str, Any]]:
    """Every run with its state, step and last metrics."""
    with ProjectFile.open(path, readonly=True) as project:
        return [_row(project, run) for run in project.runs()]


def run_row(path: Path, run: int) -> dict[str, Any]:
    """One run as `runs` lists it."""
    with ProjectFile.open(path, readonly=True) as project:
        return _row(project, project.run(run))


def _row(project: ProjectFile, run: Run) -> dict[str, Any]:
    state = project.run_state(run.id)
    return {
        "run": run.id,
        "name": run.name,
        "method": run.recipe["method"],
        "teacher": run.recipe["teacher"],
        "state": state.state,
        "reason": state.reason,
        "step": state.step or 0,
        "steps": {**run.recipe["training"], **project.live_settings(run.id)}["steps"],
        "metrics": {name: value for name, (_, value) in project.latest_metrics(run.id).items()},
    }


def tell(path: Path, run: int, verb: Verb, arguments: Mapping[str, Any] | None = None) -> str:
    """Ask something of a live run and wait for what comes of it; its answer, empty where none came in time."""
    command = launch.ask(path, run, verb, arguments)
    deadline = time.monotonic() + ANSWER_SECONDS
    with ProjectFile.open(path, readonly=True) as project:
        while (asked := project.command(command)).finished is None and time.monotonic() < deadline:
            time.sleep(FOLLOW_SECONDS)  # as in `follow`
    return asked.result or ""


def queue(path: Path) -> list[dict[str, Any]]:
    """The runs that wait to be started, in their order, each as `runs` lists it."""
    with ProjectFile.open(path, readonly=True) as project:
        return [_row(project, run) for run in project.queue()]


def stalled(path: Path) -> str:
    """One sentence where runs wait and nothing will start them, because the process before them was killed; or none."""
    with ProjectFile.open(path, readonly=True) as project:
        waiting = project.stalled_queue()
    if not waiting:
        return ""
    many = "1 waits" if len(waiting) == 1 else f"{len(waiting)} wait"
    return f"No run is under way and {many} in the queue; `distill resume {path} {waiting[0].id}` starts the first."


def log(path: Path, run: int) -> list[dict[str, Any]]:
    """What happened in a run, oldest first."""
    with ProjectFile.open(path, readonly=True) as project:
        return [asdict(event) for event in project.events_after(run)]


def metrics(path: Path, run: int) -> dict[str, dict[str, list[float]]]:
    """Every curve of a run on its effective line: name -> {"step": [...], "value": [...]}."""
    with ProjectFile.open(path, readonly=True) as project:
        curves = {series.name: project.points(series) for series in project.series(run)}
    return {name: {"step": curve.steps.tolist(), "value": curve.values.tolist()} for name, curve in curves.items()}


def samples(path: Path, run: int, out: Path) -> list[Path]:
    """Write a run's pictures to a folder, one PNG for each and one sheet for each grid; the sheets."""
    from backend import pictures  # noqa: PLC0415

    grids: dict[tuple[str, int], dict[int, bytes]] = {}
    with ProjectFile.open(path, readonly=True) as project:
        for sample in project.samples_after(run):  # a run that was resumed may have drawn a grid twice: the last stays
            grids.setdefault((sample.kind, sample.step), {})[sample.position] = project.image(sample)
    if not grids:
        raise UserError(f"Run {run} has no pictures yet; let it train further.")
    sheets = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for (kind, step), tiles in grids.items():
            place = out / f"{kind}-{step:08d}"
            for position, data in tiles.items():
                place.with_name(f"{place.name}-{position:03d}.png").write_bytes(data)
            sheets.append(place.with_suffix(".png"))
            images = [pictures.open_png(data) for _, data in sorted(tiles.items())]
            columns = 1 if kind in VIEWS else 10  # such a picture is a row already
            pictures.tile(images, columns, pictures.scale_of(images[0]), pictures.GAP).save(sheets[-1])
    return sheets


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """While inside, a file that cannot be written is a sentence that names `out`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror or error}); choose another place.") from error


def copy(path: Path, target: Path, report: Report = lambda words: None) -> None:
    """A whole copy of a project and of its files, also while runs write into it."""
    progress, copied = Progress(1.0, report), 0

    def say(done: int, whole: int) -> None:
        nonlocal copied
        progress.whole = float(whole)
        progress.add(done - copied)
        copied = done
        progress.say(f"copied {done / 2**20:,.0f} of {whole / 2**20:,.0f} MiB")

    with ProjectFile.open(path, readonly=True) as project:
        project.save_whole_copy(target, say)


def check(path: Path) -> list[str]:
    """What is wrong with a project's database and files, one sentence each."""
    with ProjectFile.open(path, readonly=True) as project:
        return project.check()


def wait(path: Path, run: int, report: Report) -> RunState:
    """Follow a run to the end of its process, reporting a line every other second; its last state.

    Ctrl-C asks the run to stop and still waits for it to save its state; a second one leaves it to itself.
    """
    try:
        return _watch(path, run, report)
    except KeyboardInterrupt:
        report(f"Run {run} stops after its step; press Ctrl-C again not to wait for it.")
        with suppress(launch.LaunchError):  # it ended by itself in this moment
            launch.stop(path, run)
        state = _watch(path, run, report)
        if state.state == "stopped":
            report(f"`distill resume {path} {run}` goes on.")
        return state


def _watch(path: Path, run: int, report: Report) -> RunState:
    said = 0.0
    watched: Watched | None = None
    for watched in follow(path, run):
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            report(line(watched))
    assert watched is not None  # follow yields at least once
    report(line(watched))
    return watched.state


def line(watched: Watched) -> str:
    """A run in one line for a terminal."""
    words = f"run {watched.run} {watched.state.state}, step {watched.state.step or 0}/{watched.steps}"
    scores = [name for name in ("preview_frechet", "preview_sliced_wasserstein") if name in watched.metrics]
    words += "".join(f", {name.removeprefix('preview_')} {watched.metrics[name][1]:.3g}" for name in scores)
    return words + (f" ({watched.state.reason})" if watched.state.reason else "")


def free_name(folder: Path, stem: str) -> Path:
    """A project name that is not taken in `folder`: stem, stem-2, ..."""
    names = (folder / f"{stem}{'' if i == 1 else f'-{i}'}.distill" for i in range(1, 10_000))
    return next(name for name in names if not name.exists())


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`."""
    return os.access(folder, os.W_OK)
