"""Runs the sample.py of exports, in a process of its own that has never seen this program.

`verify` starts this file by its path. It imports nothing of the program, and says at the end which modules of it were
loaded all the same. Jobs come as JSON on standard input: folder, text, argument (labels or count) and seed of each, the
file where the export is one and the folder holds the expected pictures alone, and where to keep the pictures if they
are wanted; the answer is one JSON line on standard output.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def difference(job: dict[str, Any]) -> dict[str, Any]:
    """The largest absolute difference between the pictures made and expected, or why there is none."""
    started = time.monotonic()
    scope: dict[str, Any] = {"__name__": "sample"}
    try:
        exec(compile(job["text"], "sample.py", "exec"), scope)
        made = scope["sample"](job.get("file", job["folder"]), job["argument"], job["seed"])
        expected = load_file(Path(job["folder"]) / "expected.safetensors")["samples"]
        if job.get("keep"):
            save_file({"made": made.contiguous(), "expected": expected.contiguous()}, job["keep"])
        if made.shape != expected.shape:
            raise ValueError(f"it makes pictures of shape {tuple(made.shape)}, not {tuple(expected.shape)}")
        largest = float((made - expected).abs().max())
    except Exception as error:  # the process's outermost edge: diffusers raises all kinds for a broken folder
        return {"problem": f"{type(error).__name__}: {error}"}
    return {"difference": largest, "seconds": time.monotonic() - started}


def main() -> None:
    order = json.load(sys.stdin)
    torch.set_num_threads(order["threads"])
    answers = [difference(job) for job in order["jobs"]]
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in ("backend", "app"))
    print(json.dumps({"answers": answers, "ours": ours}))


if __name__ == "__main__":
    main()
