"""How long a run takes to its first step, the first time and once its prompts and pictures are kept.

Each line is a worker of its own, as the window starts it, with a cache that the first one finds empty.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backend.contract.errors import UserError
from backend.contract.launch import WORKER, worker_environment
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

POLL_SECONDS = 0.1
CASES: Mapping[str, Mapping[str, Any]] = {
    "prompts": {"method": "dmd2", "settings": {"student_steps": 4, "guidance_scale": 2.0}},
    "prompts and pictures": {"method": "gdd"},
}
"""Of the bundled text-to-image teacher, with its 1,392 prompts, and with its pictures."""


def rows(
    cases: Mapping[str, Mapping[str, Any]], teacher: str = "emoji", batch_size: int = 8
) -> Iterator[dict[str, Any]]:
    """The seconds of each part of a start (`starting`), with an empty cache and with what that start has kept."""
    for name, asked in cases.items():
        training = {"steps": 1, "batch_size": batch_size, "device": "cpu"}
        recipe = Recipe.from_values({"teacher": teacher, **asked, "training": training})
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("empty", "kept"):
                path = Path(folder) / f"{cache}.distill"
                yield {"with": name, "cache": cache, "seconds": _start(path, recipe, Path(folder) / "cache")}


def _start(path: Path, recipe: Recipe, cache: Path) -> dict[str, float]:
    """What a worker says of its start. Raises `UserError` where it ends before its first step."""
    with ProjectFile.create(path) as project:
        run = project.add_run(recipe)
    environment = worker_environment() | {"DISTILL_STUDIO_CACHE": str(cache)}
    worker = subprocess.Popen([sys.executable, "-P", "-m", WORKER, str(path), str(run)], env=environment)
    try:
        with ProjectFile.open(path, readonly=True) as project:
            while True:
                ended = worker.poll() is not None
                for event in project.events_after(run):
                    if "start" in event.data:
                        return dict(event.data["start"])
                if ended:
                    raise UserError(f"The run ended before its first step: {project.run_state(run).reason}")
                time.sleep(POLL_SECONDS)  # the project file calls nobody
    finally:
        worker.kill()  # what comes after the first step is of no interest
        worker.wait()
