"""How long it takes until a misconfiguration is refused, each by the command line in a process of its own.

    python -m tests.backend.teachers.refusals

Those of `test_misconfigured` that need no weights, and prompt files that cannot be used.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import tiny
from .test_misconfigured import AT_ONCE

PROMPTS = {
    "no prompt file": None,
    "an empty prompt file": b"",
    "prompts in Latin-1": "ein B\u00e4r".encode("latin-1"),
    "prompts in UTF-16": "a bear".encode("utf-16"),
    "a picture for prompts": b"\x89PNG\r\n\x1a\n\0",
}
PROMISED = 2.0
"""Seconds."""


def refused(*arguments: str | Path) -> tuple[float, str]:
    """Seconds until the command line has refused this, and what it said. Raises where it did not."""
    begun = time.perf_counter()
    command = [sys.executable, "-P", "-m", "backend", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 2:
        raise RuntimeError(f"{arguments} ended with {ended.returncode}: {ended.stderr}")
    return time.perf_counter() - begun, ended.stderr.strip().splitlines()[-1]


def each(folder: Path) -> Iterator[tuple[str, float, str]]:
    """Every misconfiguration with how long it took and what was said."""
    model = cache(lambda name: tiny.write(name, folder / name))
    for name, (family, change, words) in AT_ONCE.items():
        broken = Path(shutil.copytree(model(family), folder / "broken"))
        change(broken)
        seconds, said = refused("teachers", broken)
        shutil.rmtree(broken)
        if words not in said:
            raise RuntimeError(f"{name}: {said}")
        yield name, seconds, said
    subprocess.run([sys.executable, "-m", "backend", "new", str(folder / "lab")], check=True, capture_output=True)
    for name, content in PROMPTS.items():
        file = folder / "prompts.txt"
        if content is not None:
            file.write_bytes(content)
        ask = ("run", folder / "lab", "--teacher", model("sd"), "--method", "dmd2", "--prompts", file)
        yield name, *refused(*ask)


def main() -> None:
    """Print them all, their median and the slowest."""
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, seconds, _) in enumerate(each(Path(folder)), 1):
            took.append(seconds)
            print(f"{number:>3}  {seconds:5.2f} s  {name}{'' if seconds <= PROMISED else '  TOO LATE'}", flush=True)
    print(f"median {statistics.median(took):.2f} s, the slowest {max(took):.2f} s of {PROMISED:g} s")


if __name__ == "__main__":
    main()
