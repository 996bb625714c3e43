"""The command line: each command parses, calls one function and prints.

With --json a command prints one JSON object on standard output and nothing else there; progress and problems go to
standard error. Exit status: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted.
"""

import json
import math
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

INTERRUPTED = 130
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
