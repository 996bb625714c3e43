"""Tells a person who has closed the window that a run has ended, where their desktop has a place for that.

Only what the window has started is told of, with all that follows it in the queue: whoever starts a run in a terminal
looks there. `DISTILL_STUDIO_NOTIFY=0` in the environment of the window switches it off, and 1 in that of the command
line switches it on. While a window has the project open it tells by itself.
"""

import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from backend.contract.errors import UserError
from backend.contract.files import window_name
from backend.contract.project_file import ProjectFile

SWITCH = "DISTILL_STUDIO_NOTIFY"
PATIENCE_SECONDS = 5.0
TITLE = "Distill Studio"


def tell_of_end(path: Path, run: int) -> None:
    """Tell that a run is finished or has failed; nothing of it may fail, or matter to the run."""
    with suppress(OSError, UserError, subprocess.SubprocessError):
        if os.environ.get(SWITCH) != "1" or has_window(path):
            return
        with ProjectFile.open(path, readonly=True) as project:
            name, state = project.run(run).name, project.run_state(run)
        words = {"finished": f"{name} is finished.", "failed": f"{name} has failed: {state.reason}"}.get(state.state)
        command = _command(words) if words is not None else None
        if command is not None:
            nothing = subprocess.DEVNULL
            subprocess.run(
                command, stdin=nothing, stdout=nothing, stderr=nothing, timeout=PATIENCE_SECONDS, check=False
            )


def has_window(path: Path) -> bool:
    """Whether a window shows the project: where it does, something listens under its name. It is not disturbed."""
    if os.name != "posix":
        return True  # there is no way to tell, and so no need to ask
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(PATIENCE_SECONDS)
        try:
            caller.connect(str(Path(os.environ.get("TMPDIR") or "/tmp") / window_name(path)))
        except OSError:
            return False
        return True


def _command(words: str) -> list[str] | None:
    """What shows a notification on this desktop; None where there is no desktop, or nothing that does."""
    if sys.platform == "darwin":
        script = ("on run said", "display notification (item 1 of said) with title (item 2 of said)", "end run")
        return ["osascript", *(part for line in script for part in ("-e", line)), words, TITLE]
    found = shutil.which("notify-send")
    has_desktop = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return [found, f"--app-name={TITLE}", "--", TITLE, words] if found and has_desktop else None
