"""What the program itself is worth: the tables of `distill bench`."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from backend import bench_tables
from backend.commands import Json, answer, say
from backend.contract import launch


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
    prompts = "prompts"
    quality = "quality"
    budget = "budget"


def bench(
    tables: Annotated[
        list[Table] | None,
        typer.Argument(
            help="Which; left out, step and recording: methods, guidance, prompts, quality and budget take hours."
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
