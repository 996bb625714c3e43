"""`distill`: its commands in the order in which its help lists them."""

import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from backend import studio
from backend.commands import INTERRUPTED, say
from backend.commands.leaving import compare, evaluate, export
from backend.commands.measuring import bench
from backend.commands.offers import demo, describe, methods, teachers
from backend.commands.projects import check, copy, new
from backend.commands.reading import log, metrics, queue, runs, samples
from backend.commands.running import change, pause, preflight, resume, run, sample, save, stop
from backend.contract.errors import UserError
from backend.memory import keep_freed

app = typer.Typer(
    help="Distil a diffusion teacher into a few-step student.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(demo, methods, teachers, describe, new, preflight, run, pause, resume, stop, change, sample, save),
    *(runs, queue, log, metrics, samples, evaluate, compare, export, copy, check, bench),
)
for command in COMMANDS:
    app.command("set" if command is change else None)(command)


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
