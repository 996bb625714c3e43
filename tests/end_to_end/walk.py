"""Walks through the window as a person does, with mouse and keys alone, from an empty home to a checked export.

    python -m tests.end_to_end.walk [--out FOLDER] [--home FOLDER] [--text]

Starts the program on a virtual screen of 1280x800 with a window manager, moves the pointer and presses keys with
xdotool, waits for what the project file says, and saves a picture of the screen after each part: 01-welcome.png to
10-command-palette.png, where the README shows them from or into FOLDER. The home is a folder that is made and deleted;
its path is seen in the pictures. Needs Xvfb, openbox, xdotool and import, which is ImageMagick's. It takes as long as
the demo does, some minutes on an idle machine. Exit status 0 where the export makes the preview's pictures.

With --text it goes from a short run of the text-to-image teacher `emoji`, which is duplicated in the wizard and started
there, to a comparison and a checked export of its student: pictures 11-text-review.png to 14-text-export.png.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image

from backend.contract import launch
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "resources" / "pictures" / "window"
TOOLS = ("Xvfb", "openbox", "xdotool", "import")
SIZE = (1280, 800)
COLOURS = 192
PATIENCE = 3600.0
MOMENT = 2.0
"""In which the window has answered a key or a click."""
TABS = {"Samples": (844, 185), "Triptych": (924, 185), "Health": (998, 185)}
WIPE = (560, 76)
"""Where these stand on a screen of that size, under the window manager's title bar."""


class Walk:
    """folder: where pictures go. home: what the program takes for the person's home. display: of the screen.

    program: once it is started.
    """

    program: subprocess.Popen[bytes]

    def __init__(self, folder: Path, home: Path, display: str) -> None:
        self.folder, self.home = folder, home
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "QT_"))}
        self.environment = kept | {"HOME": str(home), "DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
        self.project = home / "digits-demo.distill"

    def keys(self, *names: str) -> None:
        """Press keys, one after the other."""
        for name in names:
            self._do("key", name)
        time.sleep(MOMENT)

    def write(self, words: str) -> None:
        """Type words."""
        self._do("type", "--delay", "60", words)
        time.sleep(MOMENT)

    def click(self, place: tuple[int, int]) -> None:
        """Click there, and move the pointer out of the way."""
        self._do("mousemove", *map(str, place), "click", "1")
        self._do("mousemove", "640", str(SIZE[1] - 2))
        time.sleep(MOMENT)

    def command(self, name: str) -> None:
        """Find a command by its name, and give it."""
        self.keys("ctrl+k")
        self.write(name)
        self.keys("Return")

    def take(self, name: str) -> None:
        """Save what is on the screen."""
        path = self.folder / f"{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], env=self.environment, check=True)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)
        print(path, flush=True)

    def until(self, condition: Callable[[ProjectFile], bool], what: str) -> None:
        """Wait until the project says so. Raises `RuntimeError` where the program ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.program.poll() is not None:
                raise RuntimeError(f"the program ended before {what}; start it on a screen to see why")
            if self.project.exists():
                try:
                    with ProjectFile.open(self.project, readonly=True) as project:
                        if condition(project):
                            return
                except UserError:
                    pass  # it is being made
            time.sleep(0.2)
        raise TimeoutError(f"waited too long for {what}")

    def _do(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env=self.environment, check=True)


def walk(one: Walk) -> None:
    """From the first screen to an export that was checked."""
    one.take("01-welcome")
    one.keys("space")  # the demo has the focus
    one.until(lambda project: project.run_state(1).state == "running", "the run")
    time.sleep(10)
    one.take("02-run-10s")
    one.until(lambda project: (project.run_state(1).step or 0) >= 220, "half of the run")
    one.take("03-run-of-stages")
    one.click(TABS["Triptych"])
    one.take("04-triptych")
    one.click(TABS["Health"])
    one.take("05-health")
    one.keys("ctrl+1")
    one.take("06-wizard")
    one.keys("ctrl+2")
    one.until(lambda project: project.run_state(1).state == "finished", "the end of the run")
    one.keys("ctrl+3")
    one.keys("space")  # Draw has the focus
    one.until(lambda project: any((project.files / "compare").glob("*/index.json")), "the comparison")
    time.sleep(MOMENT)
    one.take("07-compare")
    one.click(WIPE)
    one.take("07-compare-wipe")
    one.keys("ctrl+4")
    one.take("08-runs")
    one.keys("ctrl+5")
    one.keys("ctrl+Return")
    one.until(lambda project: bool(project.exports(1)), "the export")
    time.sleep(MOMENT)
    one.take("09-export")
    one.keys("ctrl+k")
    one.take("10-command-palette")
    one.keys("Escape")


TEXT = {
    "teacher": "emoji",
    "method": "dmd2",
    "settings": {"student_steps": 4, "guidance_scale": 2.0},
    "training": {"steps": 40, "batch_size": 16, "preview_every": 20, "checkpoint_every": 20},
}
"""Too short for a good student: what is walked through is the window."""


def walk_of_text(one: Walk) -> None:
    """A run with prompts and guidance, started from the wizard, to its checked export."""
    one.keys("ctrl+2", "ctrl+d")
    time.sleep(10)  # the wizard learns what the backend offers
    for _ in range(6):
        one.keys("alt+Right")
    time.sleep(10)
    one.take("11-text-review")
    one.keys("ctrl+Return")
    one.until(lambda project: len(project.runs()) == 2 and project.run_state(2).state == "finished", "the run")
    one.keys("ctrl+2")
    one.take("12-text-run")
    one.keys("ctrl+3")
    one.keys("space")
    one.until(lambda project: any((project.files / "compare").glob("*/index.json")), "the comparison")
    time.sleep(MOMENT)
    one.take("13-text-compare")
    one.keys("ctrl+5")
    one.keys("ctrl+Return")
    one.until(lambda project: bool(project.exports(2)), "the export")
    time.sleep(MOMENT)
    one.take("14-text-export")


def is_sound(project: Path, run: int) -> bool:
    """Whether the last export was checked and makes the preview's pictures."""
    with ProjectFile.open(project, readonly=True) as opened:
        about = opened.exports(run)[-1].verification
    return bool(about["max_abs_difference"] <= about["tolerance"])


@contextmanager
def running(*command: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    """Walk once."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.walk")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where the pictures go")
    parser.add_argument("--home", type=Path, help="a folder that is not there yet; it is deleted afterwards")
    parser.add_argument("--text", action="store_true", help="walk with a text-to-image teacher")
    asked = parser.parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"Not found: {', '.join(missing)}; install them and start again.", file=sys.stderr)
        return 2
    asked.out.mkdir(parents=True, exist_ok=True)
    home = asked.home or Path(tempfile.mkdtemp(prefix="walk-"))
    home.mkdir(parents=True, exist_ok=asked.home is None)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        display = f":{os.getpid() % 400 + 100}"
        stack.enter_context(running("Xvfb", display, "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"))
        time.sleep(MOMENT)
        one = Walk(asked.out, home, display)
        stack.enter_context(running("openbox", environment=one.environment))
        opened = [str(one.project)] if asked.text else []
        if asked.text:
            with ProjectFile.create(one.project) as project:
                project.add_run(Recipe.from_values(TEXT))
        one.program = stack.enter_context(running(sys.executable, "-m", "app", *opened, environment=one.environment))
        time.sleep(4 * MOMENT)
        run = 2 if asked.text else 1
        try:
            (walk_of_text if asked.text else walk)(one)
            return 0 if is_sound(one.project, run) else 1
        finally:
            if one.project.exists():
                launch.end(one.project, run)


if __name__ == "__main__":
    sys.exit(main())
