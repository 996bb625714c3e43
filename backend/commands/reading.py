"""What a project holds of its runs: states, the queue, logs, curves, pictures."""

import csv
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from backend import studio
from backend.commands import Json, Project, RunName, answer, say
from backend.text_tables import number, table


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
