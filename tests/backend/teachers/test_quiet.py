"""The libraries' remarks stay away from what a person reads; in a process that has imported none of them yet."""

import subprocess
import sys


def test_importing_a_pipeline_says_nothing() -> None:
    name = "StableDiffusionPipeline"
    code = f"from backend.teachers.modules import pipeline; print(pipeline({name!r}).__name__, pipeline('NoPipeline'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{name} None\n", "")
