"""The command line: parses, calls one function, prints.

With --json a command prints one JSON object on standard output and nothing else there; progress and problems go to
standard error. Exit status: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted.
"""

import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from backend import bench_tables, first_look, students, studio
from backend.contract import catalogue, launch
from backend.contract.checked import Preflight
from backend.contract.errors import UserError
from backend.contract.rows import Verb
from backend.contract.settings import parse_assignments
from backend.importing import uncollected
from backend.memory import keep_freed
from backend.progress import process_began
from backend.text_tables import number, table

app = typer.Typer(
    help="Distil a diffusion teacher into a few-step student.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130


class Table(StrEnum):
    """What `distill bench` measures."""

    step = "step"
    recording = "recording"
    start = "start"
    acceleration = "acceleration"
    memory = "memory"
    methods = "methods"
    health = "health"
    guidance = "guidance"
    quality = "quality"
    budget = "budget"


Project = Annotated[str, typer.Argument(help="Project file, NAME.distill.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Number or name of the run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Which = Annotated[str, typer.Option("--checkpoint", help="best, last or a step.")]


def say(words: str) -> None:
    """Progress, for a person."""
    print(words, file=sys.stderr, flush=True)


def answer(data: Any, as_json: bool, show: Callable[[], None]) -> None:
    """The result: as JSON, or as `show` prints it."""
    if as_json:
        print(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show()


def _plain(data: Any) -> Any:
    """The same with null where JSON has no number: infinity, and NaN, which is a loss that was not finite."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


@app.command()
def demo(
    project: Annotated[str | None, typer.Option(help="Project to make or add to.")] = None, as_json: Json = False
) -> None:
    """Distil the bundled digits teacher: train, evaluate, export, and verify the export."""
    from backend import demo as main_job  # noqa: PLC0415

    done = main_job.demo(studio.project_path(project) if project else None, say)

    def show() -> None:
        rows = []
        for key, words in (
            ("teacher_at_student_nfe", "teacher, same NFE"),
            ("student", "student"),
            ("teacher", "teacher in full"),
        ):
            figures = done[key]
            rows.append([words, str(figures["nfe"]), number(figures["frechet"]), number(figures["accuracy"])])
        table(rows, ["", "NFE", "Frechet distance", "class accuracy"])
        print(
            f"{done['speed_up']} times faster than the teacher in full; trained and checked in {done['seconds']} s, "
            f"{done['memory'] / 2**20:.0f} MiB"
        )
        print(f"picture  {done['picture']}")
        print(f"export   {done['export']['path']}")
        print(
            f"         plain diffusers differs from the preview by at most {done['export']['max_abs_difference']:.1e}"
        )
        print(f"project  {done['project']}")

    answer(done, as_json, show)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with its settings.")] = None, as_json: Json = False
) -> None:
    """List the methods: what each needs, its settings with defaults, units and ranges."""
    from backend import describe  # noqa: PLC0415

    cards, broken = describe.methods()
    if name is not None:
        card = describe.method(name)

        def show_one() -> None:
            print(f"{card.title} ({card.key}), {card.paper}\n{card.summary}\ncost: {card.cost_words}")
            print(f"needs: {', '.join(card.needs) or 'nothing but the teacher'}, with the defaults\n")
            rows = [_setting_row(key, about) for key, about in card.settings["properties"].items()]
            table(rows, ["setting", "default", "range", "what it does"])

        answer(card.model_dump(mode="json"), as_json, show_one)
        return

    def show_all() -> None:
        table([[c.key, c.title, c.paper, f"{c.cost:g}"] for c in cards], ["name", "method", "paper", "cost"])
        print("cost: forwards of the teacher per step and sample, with the default settings")
        for fault in broken:
            print(f"{fault.key} does not load: {fault.error}")

    data = {
        "methods": [c.model_dump(mode="json") for c in cards],
        "broken": [b.model_dump(mode="json") for b in broken],
    }
    answer(data, as_json, show_all)


def _setting_row(key: str, about: dict[str, Any]) -> list[str]:
    low, high = about.get("minimum"), about.get("maximum")
    if low is not None and high is not None:
        span = f"{low} to {high}"
    elif low is not None or high is not None:
        span = f"{low} or more" if high is None else f"{high} or less"
    else:
        span = ", ".join(map(str, about.get("enum", [])))
    unit = f" {about['unit']}" if about.get("unit") else ""
    return [key, json.dumps(about.get("default")), span + unit, about.get("description", "")]


def _looked_at(where: str) -> tuple[catalogue.TeacherCard, dict[str, list[str]]]:
    """A teacher, and the methods that can use it; without torch where the methods are known from an earlier start."""
    from backend.teachers import quick  # noqa: PLC0415

    card = None if where.partition(":")[0] == "mixture-2d" else quick.card(where)
    if card is not None:
        usable = quick.methods_for(card)
        if usable is not None:
            return card, usable
    say("Asking every method what it needs; once, for some seconds.")
    from backend import describe  # noqa: PLC0415

    made = describe.catalogue()
    catalogue.store_cached(catalogue.default_key(), made)
    card = card or describe.teacher_card(where)
    return card, quick.sorted_for(card, made.methods)


@app.command()
def teachers(
    where: Annotated[str | None, typer.Argument(metavar="[PATH]", help="A diffusers folder.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled teachers, or say what a given one is and whether it can be used."""
    if where is not None:
        card, usable = _looked_at(where)

        def show_one() -> None:
            print(f"{card.title} ({card.key}): {card.summary}")
            classes = f"{card.classes} classes, " if card.classes else ""
            print(f"samples {'x'.join(map(str, card.shape))}, {classes}{card.parameters:,} parameters")
            print(f"licence: {card.licence}\nmethods that can use it: {', '.join(usable['methods'])}")
            if usable["methods_with_data"]:
                print(f"methods that can with real data: {', '.join(usable['methods_with_data'])}")
            if usable["methods_refusing"]:
                lacks = "no classes or prompts" if card.condition == "none" else "no unconditional mode"
                print(f"methods that cannot with their defaults, as it has {lacks}: ", end="")
                print(", ".join(usable["methods_refusing"]))
            for key, value in card.figures.items():
                print(f"{key.replace('_', ' ')}: {value:.4g}")

        answer(card.model_dump(mode="json") | usable, as_json, show_one)
        return
    from backend import describe  # noqa: PLC0415

    cards = describe.bundled_teachers()

    def show_all() -> None:
        heads = ["name", "teacher", "sample", "predicts", "parameters"]
        whole = [card for card in cards if not card.problem]
        table(
            [[c.key, c.title, "x".join(map(str, c.shape)), c.prediction_type, f"{c.parameters:,}"] for c in whole],
            heads,
        )
        for card in cards:
            if card.problem:
                print(f"{card.key} cannot be used: {card.problem}")

    answer({"teachers": [c.model_dump(mode="json") for c in cards]}, as_json, show_all)


@app.command()
def describe(as_json: Json = True) -> None:
    """Print everything the backend offers on this machine, for other programs."""
    with uncollected():  # what methods need is imported as they are tried
        from backend.describe import catalogue as make  # noqa: PLC0415

        made = make()
    catalogue.store_cached(catalogue.default_key(), made)
    print(made.to_json())


@app.command()
def new(project: Project, as_json: Json = False) -> None:
    """Make an empty project."""
    path = studio.project_path(project)
    studio.new(path)
    answer({"project": str(path)}, as_json, lambda: print(path))


@app.command()
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


@app.command()
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


@app.command()
def pause(project: Project, run: RunName, as_json: Json = False) -> None:
    """Let a run wait and keep its memory."""
    _ask(project, run, launch.pause, as_json)


@app.command()
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


@app.command()
def stop(project: Project, run: RunName, as_json: Json = False) -> None:
    """Stop a run after its step; its state is kept and it can be resumed."""
    _ask(project, run, launch.stop, as_json)


@app.command(name="set")
def change(
    project: Project,
    run: RunName,
    assignments: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="steps, preview_every, ...")],
    as_json: Json = False,
) -> None:
    """Change settings of a run while it goes on: steps, preview_every, checkpoint_every, keep_checkpoints and
    learning_rate_factor."""
    _tell(project, run, "set", as_json, parse_assignments(assignments))


@app.command()
def sample(project: Project, run: RunName, as_json: Json = False) -> None:
    """Have a run draw and score a preview now."""
    _tell(project, run, "sample", as_json)


@app.command()
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


@app.command()
def runs(project: Project, as_json: Json = False) -> None:
    """List the runs of a project: states, steps, last metrics."""
    path = studio.project_path(project)
    rows = studio.runs(path)
    _say_if_stalled(path)

    def show() -> None:
        if not rows:
            print("No runs yet; `distill run` makes one.")
            return
        cells = [
            [str(r["run"]), r["name"], r["method"], r["state"], f"{r['step']}/{r['steps']}", r["reason"]] for r in rows
        ]
        table(cells, ["run", "name", "method", "state", "step", "reason"])

    answer({"runs": rows}, as_json, show)


@app.command()
def queue(project: Project, as_json: Json = False) -> None:
    """List the runs that wait to be started, in their order. Each run starts the next as it ends."""
    path = studio.project_path(project)
    rows = studio.queue(path)
    _say_if_stalled(path)

    def show() -> None:
        if not rows:
            print("No run waits; `distill run --queue` adds one.")
            return
        cells = [[str(r["run"]), r["name"], r["method"], f"{r['step']}/{r['steps']}"] for r in rows]
        table(cells, ["run", "name", "method", "step"])

    answer({"queue": rows}, as_json, show)


def _say_if_stalled(path: Path) -> None:
    words = studio.stalled(path)
    if words:
        say(words)


@app.command()
def log(project: Project, run: RunName, as_json: Json = False) -> None:
    """Print what happened in a run: where it went on, what was set, what its curves mean."""
    path = studio.project_path(project)
    events = studio.log(path, studio.find(path, run).id)

    def show() -> None:
        for event in events:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            where = "" if event["step"] is None else f"step {event['step']}"
            level = event["data"].get("level", "") if event["kind"] == "health" else ""
            reading = f" {event['data'].get('reading', '')}" if event["kind"] == "health" else ""
            print(f"{at}  {where:<10}  {level or event['kind']:<8}  {event['text']}{reading}")

    answer({"events": events}, as_json, show)


@app.command()
def metrics(
    project: Project, run: RunName, as_csv: Annotated[bool, typer.Option("--csv")] = False, as_json: Json = False
) -> None:
    """Print the curves of a run: the last values, or every point with --csv or --json."""
    path = studio.project_path(project)
    curves = studio.metrics(path, studio.find(path, run).id)

    def show() -> None:
        if as_csv:
            writer = csv.writer(sys.stdout)
            writer.writerow(["metric", "step", "value"])
            for name, curve in curves.items():
                writer.writerows([name, step, value] for step, value in zip(curve["step"], curve["value"], strict=True))
        else:
            rows = [
                [name, str(c["step"][-1]), number(c["value"][-1]), str(len(c["step"]))] for name, c in curves.items()
            ]
            table(rows, ["metric", "step", "last value", "points"])

    answer({"metrics": curves}, as_json, show)


@app.command()
def samples(
    project: Project, run: RunName, out: Annotated[Path, typer.Option(help="Folder.")], as_json: Json = False
) -> None:
    """Write a run's pictures to a folder: each alone, and each grid as a sheet."""
    path = studio.project_path(project)
    sheets = [str(sheet) for sheet in studio.samples(path, studio.find(path, run).id, out)]
    answer({"sheets": sheets}, as_json, lambda: print("\n".join(sheets)))


@app.command()
def evaluate(
    project: Project,
    run: RunName,
    nfe: Annotated[int | None, typer.Option(help="Network evaluations; by default the student's own.")] = None,
    samples: Annotated[int, typer.Option(help="How many samples to draw.")] = students.EVALUATION_SAMPLES,
    checkpoint: Which = "best",
    as_json: Json = False,
) -> None:
    """Measure a student beside its teacher, and keep the figures."""
    path = studio.project_path(project)
    done = students.evaluate(path, studio.find(path, run).id, checkpoint, nfe, samples, say)

    def show() -> None:
        who = ["teacher_at_student_nfe", "student", "teacher"]
        names = [name for name, value in done["student"].items() if value is not None]
        table(
            [[name, *(number(done[w][name]) for w in who)] for name in names],
            ["", "teacher, same NFE", "student", "teacher"],
        )
        print(f"step {done['step']}, {done['samples']} samples, measured in {done['measured_in']}")

    answer(done, as_json, show)


@app.command()
def compare(
    project: Project,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs by number or name; RUN@STEP, RUN@last.")],
    out: Annotated[Path | None, typer.Option(help="PNG of all sides.")] = None,
    parts: Annotated[Path | None, typer.Option(help="Folder for each picture by itself, with index.json.")] = None,
    checkpoint: Which = "best",
    seed: Annotated[int | None, typer.Option(help="Of the noise that all sides begin with.")] = None,
    teacher_nfe: Annotated[int | None, typer.Option(help="Network evaluations of the teacher in full.")] = None,
    accelerate: Annotated[
        list[str] | None, typer.Option(help="Show them accelerated too: deepcache:N or encoder:N; may be repeated.")
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
    heads = ["", "per picture", "times faster", "step", "distance to the teacher in full"]
    places = {"out": str(out) if out else None, "parts": str(parts) if parts else None}
    answer(places | done, as_json, lambda: table(rows, heads))


@app.command()
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


@app.command()
def copy(
    project: Project, to: Annotated[str, typer.Argument(help="The copy, NAME.distill.")], as_json: Json = False
) -> None:
    """Copy a project and its files, also while runs write into it: to take home from another machine."""
    target = studio.project_path(to)
    studio.copy(studio.project_path(project), target, say)
    answer({"project": str(target)}, as_json, lambda: print(target))


@app.command()
def check(project: Project, as_json: Json = False) -> None:
    """Check a project's database and files."""
    problems = studio.check(studio.project_path(project))
    answer({"problems": problems}, as_json, lambda: print("\n".join(problems) or "nothing is wrong"))
    if problems:
        raise typer.Exit(1)


@app.command()
def bench(
    tables: Annotated[
        list[Table] | None,
        typer.Argument(
            help="Which tables; left out, step and recording: methods, guidance, quality and budget take hours."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="A minute instead of many; shows that it works, and little more.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure what a step costs, what recording costs a run, how good students get. Leave the machine idle."""
    if sys.platform == "linux" and not launch.SHARE_CORES.keys() <= os.environ.keys():
        # As a worker is started: OpenMP reads these when a process begins, and not again.
        command = [sys.executable, "-P", "-m", "backend", *sys.argv[1:]]
        os.execve(sys.executable, command, launch.worker_environment())
    from backend import bench as benchmark  # noqa: PLC0415

    done = benchmark.bench(tables or [Table.step, Table.recording], quick, say)
    answer(done, as_json, lambda: print("\n".join(bench_tables.lines(done))))


def main() -> None:
    """Run the command line and turn what a person can mend into one sentence and exit status 2."""
    keep_freed()
    command = typer.main.get_command(app)
    try:
        with command.make_context("distill", sys.argv[1:] or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except typer.TyperException as error:
        words = error.format_message().replace("Value error, ", "")
        _end(f"{words}{'' if words.endswith('.') else '.'} Add --help to see how the command is used.", 2)
    except UserError as error:
        _end(str(error), 2)
    except studio.WorkFailed as error:
        _end(str(error), 1)
    except studio.Interrupted as error:
        _end(str(error), INTERRUPTED)
    except (KeyboardInterrupt, EOFError):
        _end("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain when it flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _end(words: str, status: int) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps({"error": words}, ensure_ascii=False))
    say(words)
    sys.exit(status)


if __name__ == "__main__":
    main()
