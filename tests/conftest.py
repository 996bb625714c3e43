"""What every test shares: one thread for each test process, no network, the same random examples every time.

And a laboratory that is made once: a tiny teacher, a project with two finished runs, the command line in this process.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # also for the processes that tests start
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["DISTILL_STUDIO_NOTIFY"] = "0"  # no run of a test is told of on anybody's desktop
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import hypothesis
import pytest

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-pictures", action="store_true", help="take the window's reference pictures anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts the whole program comes first, as a file of it may take a minute, and none should be the last."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def qapp() -> Any:
    """The window's application, dressed as a person sees it; in place of pytest-qt's own."""
    from PySide6.QtWidgets import QApplication

    from app.__main__ import make_application

    app = QApplication.instance() or make_application(["distill-studio"])
    assert isinstance(app, QApplication)
    # A quit that no event loop was there to take would end every later one at once.
    app.setQuitOnLastWindowClosed(False)
    return app


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output; fails where there is anything else."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """distill(*arguments): the command line, run in this process."""

    def run(*arguments: object) -> Answer:
        from backend.__main__ import main

        monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return Answer(status, printed.out, printed.err)

    return run


def work(path: Path, run: int) -> int:
    """Work on a run to its end in this process, whose signals stay its own; the worker's exit status."""
    from backend import worker

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return worker.main([str(path), str(run)])
    finally:
        for number, heed in before.items():
            signal.signal(number, heed)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are worked on in this process, before the command that starts them goes on."""
    from backend.contract import launch

    monkeypatch.setattr(launch, "start_worker", work)


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """tiny_teacher(kind, channels, **profile): the folder of an untrained teacher of digits."""

    def make(kind: str = "digits", channels: tuple[int, ...] = (16, 32), **profile: Any) -> Path:
        import torch

        from backend.bundled import digits_teachers

        folder = tmp_path_factory.mktemp(kind)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net, scheduler = digits_teachers.new_teacher(kind, channels)
        if kind == "digits":
            unet = digits_teachers.unet_of(net)
            unet.time_embedding.linear_1.weight.data.mul_(digits_teachers.time_mask(unet))
        digits_teachers.write(kind, net, scheduler, {}, folder)
        about = json.loads((folder / "teacher.json").read_text())
        (folder / "teacher.json").write_text(json.dumps(about | profile))
        return folder

    return make


@dataclass(frozen=True)
class Lab:
    """A project with two finished runs of dmd2 on a tiny teacher: "first", and "raw", which keeps no average."""

    project: Path
    teacher: Path

    def recipe(self, method: str = "dmd2", **training: Any) -> dict[str, Any]:
        few = {"steps": 6, "batch_size": 2, "preview_every": 3, "checkpoint_every": 2, "keep_checkpoints": 2}
        return {"teacher": str(self.teacher), "method": method, "training": {**few, "threads": 1, **training}}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: Callable[..., Path]) -> Lab:
    from backend.contract.project_file import ProjectFile
    from backend.contract.recipe import Recipe

    made = Lab(tmp_path_factory.mktemp("lab") / "lab.distill", tiny_teacher())
    with ProjectFile.create(made.project) as project:
        first = project.add_run(Recipe.from_values(made.recipe()), name="first")
        raw = project.add_run(Recipe.from_values(made.recipe(steps=2, ema_decay=0, preview_every=0)), name="raw")
    assert [work(made.project, run) for run in (first, raw)] == [0, 0]
    return made
