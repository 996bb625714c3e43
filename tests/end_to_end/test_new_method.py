"""A method is one file: written beside nothing else it is listed, trained, plotted and exported."""

import json
import os
import subprocess
import sys
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


def distill(folder: Path, *arguments: str) -> Any:
    environment = {**os.environ, "DISTILL_STUDIO_METHODS": str(folder)}
    command = [sys.executable, "-m", "backend", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_method_added_as_one_file_is_listed_run_plotted_and_exported(tmp_path: Path) -> None:
    (tmp_path / "throwaway.py").write_text(METHOD)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    listed = distill(tmp_path, "methods")
    assert "throwaway" in {method["key"] for method in listed["methods"]}
    assert [method["key"] for method in listed["broken"]] == ["broken"]
    project = str(tmp_path / "lab.distill")
    subprocess.run([sys.executable, "-m", "backend", "new", project], check=True, capture_output=True)
    done = distill(
        tmp_path, "run", project, "--teacher", "digits", "--method", "throwaway", "--steps", "12", "--set", "threads=1"
    )
    assert (done["state"], done["step"]) == ("finished", 12)
    curves = distill(tmp_path, "metrics", project, "1")["metrics"]
    assert curves["regression"]["step"] == list(range(1, 13))
    exported = distill(tmp_path, "export", project, "1", "--out", str(tmp_path / "student"))
    assert exported["max_abs_difference"] < 1e-5
    assert (tmp_path / "student" / "model_index.json").is_file()
