"""A run's whole state to one file and back, and what becomes of a file that is not whole."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend import checkpoints
from backend.assembly import start_run
from backend.checkpoints import CheckpointError
from backend.contract.recipe import Recipe
from backend.disk import DiskError
from backend.train import Run, train


def started(lab: Any, steps: int = 0, method: str = "dmd2") -> Run:
    run = start_run(Recipe.from_values(lab.recipe(method, steps=100)))
    go_on(run, steps)
    return run


def go_on(run: Run, steps: int) -> None:
    for _, _ in zip(range(steps), train(run), strict=False):
        pass


@pytest.fixture(scope="module")
def run(lab):
    return started(lab, 2)


@pytest.fixture
def saved(run, tmp_path):
    checkpoints.save(run, tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


@pytest.mark.parametrize("method", ["dmd2", "progressive"])
def test_a_loaded_run_goes_on_as_the_saved_one_would(lab, tmp_path, method):
    one = started(lab, 3, method)
    checkpoints.save(one, tmp_path / "state.safetensors")
    other = started(lab, 1, method)
    checkpoints.load(other, tmp_path / "state.safetensors")
    assert other.step == 3
    go_on(one, 2)
    ours = copy.deepcopy({name: net.state_dict() for name, net in one.modules().items()})
    go_on(other, 2)
    for name, net in other.modules().items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, ours[name][key]), f"{name} {key}"


def test_size_says_how_large_a_file_will_be(run, saved):
    assert checkpoints.size(run) == pytest.approx(saved.stat().st_size, rel=0.2)


def test_average_and_raw_student_are_told_apart(run, saved):
    for name, net in (("average", run.average), ("student", run.student)):
        target = run.teacher.trainable()
        assert checkpoints.load_network(target, saved, name) == 2
        assert all(torch.equal(a, b) for a, b in zip(target.parameters(), net.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(run.average.parameters(), run.student.parameters(), strict=True))


def test_a_save_that_fails_leaves_the_file_before_and_nothing_else(run, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(tensors: dict[str, torch.Tensor], path: Path, about: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(
        DiskError, match=r"^The checkpoint of step 2 of \d MiB could not .*No space left.*resume the run"
    ):
        checkpoints.save(run, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("length", [0, 5, 1000, -1])
def test_a_file_that_was_cut_is_named(lab, saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is missing or damaged; use an earlier checkpoint"):
        checkpoints.load(started(lab), saved)


def test_a_file_that_is_missing_is_named(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors is missing or damaged"):
        checkpoints.load_network(run.teacher.trainable(), tmp_path / "none.safetensors")


def rewrite(path: Path, **about: str) -> None:
    with safe_open(path, "pt") as opened:
        kept = opened.metadata()
    save_file(load_file(path), path, kept | about)


def test_a_newer_form_is_refused(run, saved):
    rewrite(saved, form="2")
    with pytest.raises(CheckpointError, match="or of a newer one; update to use it"):
        checkpoints.load_network(run.teacher.trainable(), saved)


def test_a_checkpoint_of_another_recipe_is_refused(lab, saved):
    with pytest.raises(CheckpointError, match="is a checkpoint of another recipe, or of an earlier version"):
        checkpoints.load(started(lab, method="consistency"), saved)


def test_a_network_of_another_architecture_is_refused(run, saved):
    with pytest.raises(CheckpointError, match=r"The average in state\.safetensors has another architecture"):
        checkpoints.load_network(torch.nn.Linear(2, 2), saved)


def test_nothing_in_a_checkpoint_is_code(saved):
    with safe_open(saved, "pt") as opened:
        about = opened.metadata()
        assert set(about) == {"form", "step", "plain"}
        assert isinstance(json.loads(about["plain"]), dict)
        assert {key.split("/")[0] for key in opened.keys()} == {"net", "optimizer", "random"}  # noqa: SIM118
