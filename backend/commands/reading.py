"""What a project holds of its runs: states, the queue, logs, curves, pictures."""

import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from backend import studio
from backend.commands import Json, Project, RunName, answer, say
from backend.text_tables import number, table


def runs(project: Project, as_json: Json = False) -> None:
    """List the runs of a project: states, steps, last metrics."""
    heads = ("run", "name", "method", "state", "step", "reason")
    _answer_rows("runs", studio.runs, project, as_json, heads, "No runs yet; `distill run` makes one.")


def queue(project: Project, as_json: Json = False) -> None:
    """List the runs that wait to be started, in their order. Each run starts the next as it ends."""
    heads = ("run", "name", "method", "step")
    _answer_rows("queue", studio.queue, project, as_json, heads, "No run waits; `distill run --queue` adds one.")


def _answer_rows(
    key: str, read: Callable[[Path], list[dict[str, Any]]], project: str, as_json: bool, heads: Sequence[str], none: str
) -> None:
    """Runs as rows, of each what `heads` names; `none` where there are none."""
    path = studio.project_path(project)
    rows = read(path)
    if stalled := studio.stalled(path):
        say(stalled)

    def show() -> None:
        if rows:
            of = [{**row, "step": f"{row['step']}/{row['steps']}"} for row in rows]
            table([[str(row[head]) for head in heads] for row in of], list(heads))
        else:
            print(none)

    answer({key: rows}, as_json, show)


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


def samples(
    project: Project, run: RunName, out: Annotated[Path, typer.Option(help="Folder.")], as_json: Json = False
) -> None:
    """Write a run's pictures to a folder: each alone, and each grid as a sheet."""
    path = studio.project_path(project)
    sheets = [str(sheet) for sheet in studio.samples(path, studio.find(path, run).id, out)]
    answer({"sheets": sheets}, as_json, lambda: print("\n".join(sheets)))
