"""Runs: looked at beforehand, started, and asked for what can be asked while they go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from backend import first_look, studio
from backend.commands import INTERRUPTED, Json, Project, RunName, answer, say
from backend.contract import launch
from backend.contract.checked import Preflight
from backend.contract.errors import UserError
from backend.contract.rows import Verb
from backend.contract.settings import parse_assignments


def preflight(
    project: Project, recipe: Annotated[Path, typer.Option(help="Recipe as JSON.")], as_json: Json = False
) -> None:
    """Check a recipe before it runs: will it work, will it fit, what will it cost."""
    path = studio.project_path(project)
    studio.require(path)
    found = Preflight(first_look.problems_of(recipe))
    if found.ok:
        from backend.preflight import preflight as look  # noqa: PLC0415

        found = look(studio.recipe_of(recipe, None, None, None, {}, {}), path, report=say)

    def show() -> None:
        for kind, each in (("problem", found.problems), ("warning", found.warnings)):
            for one in each:
                print(f"{kind}: {one.words}")
        if found.ok:
            print(f"{found.method} on {found.teacher} ({found.parameters:,} parameters, {found.device})")
            print(f"{found.evaluations_per_step:g} forwards per step and sample, {found.evaluations:.3g} in all")
            print(f"memory {found.memory / 2**20:.0f} MiB, checkpoints {found.disk / 2**20:.0f} MiB")
            if found.seconds is not None:
                print(f"about {found.seconds:.0f} s of training on this machine")

    answer(found.to_json(), as_json, show)
    if not found.ok:
        raise typer.Exit(2)


def run(
    project: Project,
    teacher: Annotated[str | None, typer.Option(help="Bundled teacher or diffusers folder.")] = None,
    method: Annotated[str | None, typer.Option(help="Name of the method.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set, or folder or zip of pictures.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Text file, one prompt a line.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe as JSON; other options change it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    detach: Annotated[bool, typer.Option(help="Return once it runs.")] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Add it to the queue, and return.")] = False,
    as_json: Json = False,
) -> None:
    """Train a student. The run goes on in a process of its own; --detach does not wait for it."""
    path = studio.project_path(project)
    studio.require(path)
    given = parse_assignments(assignments or [])
    if recipe:
        wrong = first_look.problems_of(recipe, teacher, prompts, data)
    else:
        wrong = first_look.problems(teacher, prompts, data, method, given)
    if wrong:
        raise UserError(" ".join(one.words for one in wrong))
    training = {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    asked = studio.recipe_of(recipe, teacher, method, data, given, training, prompts)
    number_of_run = studio.start(path, asked, name, say, waits=queue)
    if queue:
        row = studio.run_row(path, number_of_run)
        answer(row, as_json, lambda: print(f"run {number_of_run} {row['state']}"))
        return
    state = launch.wait_for_start(path, number_of_run) if detach else studio.wait(path, number_of_run, say)
    answer(
        studio.run_row(path, number_of_run),
        as_json,
        lambda: print(f"run {number_of_run} {state.state}" + (f": {state.reason}" if state.reason else "")),
    )
    if state.state in ("failed", "lost"):
        raise typer.Exit(1)
    if state.state == "stopped":
        raise typer.Exit(INTERRUPTED)


def pause(project: Project, run: RunName, as_json: Json = False) -> None:
    """Let a run wait and keep its memory."""
    _ask(project, run, launch.pause, as_json)


def resume(
    project: Project,
    run: RunName,
    at: Annotated[
        str, typer.Option("--at", metavar="STEP|best|last", help="Go back to this checkpoint, not on from the newest.")
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting then, such as learning_rate_factor=0.5."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let a paused run go on, or start a new process for one that stopped, failed or was lost."""
    path = studio.project_path(project)
    found = studio.find(path, run)
    if at or changes:
        state = studio.go_back(path, found.id, at or "last", parse_assignments(changes or ()))
    else:
        state = studio.resume(path, found.id)
    answer({"run": found.id, "state": state.state}, as_json, lambda: print(f"run {found.id} {state.state}"))
    if state.state in ("failed", "lost"):
        say(state.reason)
        raise typer.Exit(1)


def stop(project: Project, run: RunName, as_json: Json = False) -> None:
    """Stop a run after its step; its state is kept and it can be resumed."""
    _ask(project, run, launch.stop, as_json)


def change(
    project: Project,
    run: RunName,
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="steps, preview_every, ...")],
    as_json: Json = False,
) -> None:
    """Change settings of a run while it goes on: steps, preview_every, checkpoint_every, keep_checkpoints and
    learning_rate_factor."""
    _tell(project, run, "set", as_json, parse_assignments(assignments))


def sample(project: Project, run: RunName, as_json: Json = False) -> None:
    """Have a run draw and score a preview now."""
    _tell(project, run, "sample", as_json)


def save(project: Project, run: RunName, as_json: Json = False) -> None:
    """Have a run save a checkpoint now."""
    _tell(project, run, "save", as_json)


def _tell(project: str, run: str, verb: Verb, as_json: bool, arguments: dict[str, object] | None = None) -> None:
    path = studio.project_path(project)
    found = studio.find(path, run)
    result = studio.tell(path, found.id, verb, arguments)
    words = result or "It has not answered yet; it does so after its step."
    answer({"run": found.id, "result": result}, as_json, lambda: print(f"run {found.id}: {words}"))
    if result not in ("", "Done."):
        raise typer.Exit(2)


def _ask(project: str, run: str, verb: Callable[[Path, int], int], as_json: bool) -> None:
    path = studio.project_path(project)
    found = studio.find(path, run)
    command = verb(path, found.id)
    answer({"run": found.id, "command": command}, as_json, lambda: print(f"run {found.id} was asked"))
