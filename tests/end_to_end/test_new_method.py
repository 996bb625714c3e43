"""A method is one file: written beside nothing else it is listed, trained, plotted and exported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

METHOD = '''
"""Regression to the teacher's own answer at pure noise: of no use, and complete."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.optim import Adam, Optimizer

from backend import samplers
from backend.contract.settings import Settings as BaseSettings
from backend.contract.settings import setting
from backend.methods import Batch, Method, Update
from backend.networks import Denoiser
from backend.samplers import Sampler


class Settings(BaseSettings):
    learning_rate: float = setting(1e-4, "Learning rate", low=0, high=1)


@dataclass
class Nets:
    teacher: Denoiser
    student: Denoiser


def build(teacher, s):
    return Nets(teacher.denoiser, teacher.trainable())


def optimizers(nets, s) -> Mapping[str, Optimizer]:
    return {"student": Adam(nets.student.parameters(), lr=s.learning_rate)}


def step(nets, batch: Batch, s) -> Iterator[Update]:
    noise = batch.noise()
    state, t = samplers.initial(noise, nets.student.path, 1.0), samplers.times(1.0, noise)
    with torch.no_grad():
        answer = nets.teacher(state, t, batch.cond).x0
    yield Update(nets.student, {"regression": (nets.student(state, t, batch.cond).x0 - answer).square().mean()})


METHOD = Method(
    title="Throw-away", paper="none", summary="For a test.", settings=Settings, build=build, optimizers=optimizers,
    step=step, sampler=lambda s, net: Sampler("renoise", (1.0,)), cost=lambda s: 4.0, training={"batch_size": 4},
)
'''


COMMANDS = """
import contextlib, io, json, sys
from backend.__main__ import main

said = []
for arguments in json.load(sys.stdin):
    sys.argv, printed = ["distill", *arguments, "--json"], io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            assert not end.code, (arguments, printed.getvalue())
    said.append(json.loads(printed.getvalue()))
print(json.dumps(said))
"""
"""Several commands in one process, as each of its own would import torch; their answers."""


def distill(folder: Path, *commands: Sequence[str]) -> list[Any]:
    """What the command line says in a process that begins with this folder of methods."""
    environment = {**os.environ, "DISTILL_STUDIO_METHODS": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=json.dumps(commands), capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


def test_a_method_added_as_one_file_is_listed_run_plotted_and_exported(
    tmp_path: Path, tiny_teacher: Callable[..., Path]
) -> None:
    (tmp_path / "throwaway.py").write_text(METHOD)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    project, run = str(tmp_path / "lab.distill"), ("--method", "throwaway", "--steps", "12", "--set", "threads=1")
    listed, _, done, plotted, exported = distill(
        tmp_path,
        ("methods",),
        ("new", project),
        ("run", project, "--teacher", str(tiny_teacher()), *run),
        ("metrics", project, "1"),
        ("export", project, "1", "--out", str(tmp_path / "student")),
    )
    assert "throwaway" in {method["key"] for method in listed["methods"]}
    assert [method["key"] for method in listed["broken"]] == ["broken"]
    assert (done["state"], done["step"]) == ("finished", 12)
    assert plotted["metrics"]["regression"]["step"] == list(range(1, 13))
    assert exported["max_abs_difference"] < 1e-5
    assert (tmp_path / "student" / "model_index.json").is_file()
