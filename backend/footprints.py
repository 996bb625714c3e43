"""What preflight says that a run will need of memory, beside what the run's worker then needed.

Of a small teacher most of that is the program itself, of which a prediction is easily right; so both are compared
without it too, as they would be for a large one.

Each cell of the table is two processes of their own, because a process's peak is that of everything it ever did.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from backend.contract.errors import UserError
from backend.contract.launch import WORKER, worker_environment
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

TEACHERS = ("mixture-2d", "digits", "digits-eps", "digits-flow", "emoji", "emoji-flow")
METHODS = ("dmd2", "consistency", "progressive", "gdd")
BATCHES = (8, 64)
CLOSE = 0.15
"""By which share of the run's own peak the prediction may be off."""
TRAINING = {"steps": 6, "preview_every": 0, "checkpoint_every": 0, "device": "cpu"}
"""Enough for every kind of memory: previews are drawn before the first step and after the last, which is saved too."""
IMPORTS = """
import sys
import backend.worker
from backend.memory import peak_bytes
from backend.teachers import folder_of
if sys.argv[1] != "mixture-2d":
    from backend.teachers.diffusers_folder import inspect
    inspect(folder_of(sys.argv[1]))
print(peak_bytes())
"""
"""What a worker is before it reads a weight: the program, and the network's classes, built without memory."""
EXTRAS: Mapping[str, Mapping[str, Any]] = {
    "adapters": {"student": {"kind": "lora", "fake_score": "lora"}},
    "gradient checkpointing": {"training": {"gradient_checkpointing": True}},
    "adafactor": {"training": {"optimizer": "adafactor"}},
}


DECISIVE = (
    "preflight", "savings", "worker", "judge", "evaluate", "triptych", "train", "trained", "pieces", "optimizers",
    "memory", "checkpoints",
)  # fmt: skip
"""Modules that decide how much memory is needed and what preflight says of it, beside the method and the networks."""


def cases() -> Iterator[dict[str, Any]]:
    """The arguments of `row` for the whole table."""
    for teacher, method, batch in product(TEACHERS, METHODS, BATCHES):
        yield {"teacher": teacher, "method": method, "batch_size": batch}
    for teacher, extra in product(("digits", "emoji"), EXTRAS):
        yield {"teacher": teacher, "method": "dmd2", "batch_size": 64, "extra": extra}


def row(kept: Path, teacher: str, method: str, batch_size: int, extra: str = "") -> dict[str, Any]:
    """One line of the table, in MiB; from the folder `kept` where it was measured with this code before.

    A recipe that cannot run has its `problem` in place of figures.
    """
    asked = dict(EXTRAS[extra]) if extra else {}
    training = {**TRAINING, "batch_size": batch_size, **asked.get("training", {})}
    recipe = Recipe.from_values({"teacher": teacher, "method": method, **asked, "training": training})
    place = kept / f"memory-{recipe.hash()[:16]}-{_code(method)[:16]}.json"
    if not place.is_file():
        found = measured(recipe)
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(found), encoding="utf-8")
        unfinished.replace(place)
    named = {"teacher": teacher, "method": method, "batch_size": batch_size, "extra": extra}
    return named | judged(json.loads(place.read_text(encoding="utf-8")))


def judged(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with `off`, the share by which the prediction is too high, and whether that is `ok`.

    off_beyond_base: the same share of what is more than the program; None where nothing is.
    """
    if found["problem"]:
        return {**found, "off": None, "off_beyond_base": None, "ok": False}
    off = found["predicted"] / found["needed"] - 1
    predicted, needed = (found[name] - found["base"] for name in ("predicted", "needed"))
    beyond = predicted / needed - 1 if needed > 0 else None
    return {**found, "off": off, "off_beyond_base": beyond, "ok": abs(off) <= CLOSE}


def measured(recipe: Recipe) -> dict[str, Any]:
    """MiB that preflight predicts for a recipe and that its worker needs, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.distill"
        with ProjectFile.create(path) as project:
            run = project.add_run(recipe)
        wish = path.with_suffix(".json")
        wish.write_text(recipe.to_json(), encoding="utf-8")
        answer = _ask("backend", "preflight", str(path), "--recipe", str(wish), "--json")
        said = json.loads(answer.stdout or '{"ok": false}')
        if not said["ok"]:
            problem = " ".join(said.get("problems", [])) or said.get("error") or answer.stderr[-500:]
            return _failed(problem or "Preflight gave no answer.")
        _ask(WORKER, str(path), str(run))
        with ProjectFile.open(path, readonly=True) as project:
            reasons = [attempt.reason or "" for attempt in project.attempts(run) if attempt.outcome != "finished"]
            peaks = [event.data["peak_bytes"] for event in project.events_after(run) if "peak_bytes" in event.data]
    if reasons or not peaks:
        return _failed(" ".join(reasons) or "The worker was killed.")
    base = base_of(recipe.teacher)
    return {"predicted": said["memory"] / 2**20, "needed": max(peaks) / 2**20, "base": base, "problem": ""}


def _failed(problem: str) -> dict[str, Any]:
    return {"predicted": 0.0, "needed": 0.0, "base": 0.0, "problem": problem}


@cache
def base_of(teacher: str) -> float:
    """MiB of a process that has imported what a run of this bundled teacher needs, and has read no weights."""
    answer = _ended("-c", IMPORTS, teacher)
    if answer.returncode:
        raise UserError(f"What the program takes by itself could not be measured: {answer.stderr[-500:]}")
    return int(answer.stdout) / 2**20


def _ask(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process as the window and the command line start theirs, to its end."""
    return _ended("-m", module, *arguments)


def _ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", *arguments]
    try:
        return subprocess.run(
            command, env=worker_environment(), capture_output=True, text=True, encoding="utf-8", check=False
        )
    except OSError as error:
        raise UserError(f"No process could be started to measure memory in ({error}); close other programs.") from error


def _code(method: str) -> str:
    """SHA-256 of what decides how much memory is needed and what preflight says of it."""
    backend = Path(__file__).parent
    files = [backend / "methods" / f"{method}.py", *(backend / f"{name}.py" for name in DECISIVE)]
    files += sorted((backend / "networks").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
