"""How an attempt ends: each way leaves an outcome and a sentence a person can act on."""

import itertools
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from backend import checkpoints, health, judge, losses, studio, worker
from backend.assembly import load_student, start_run
from backend.contract import launch, liveness
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import VIEWS, Attempt
from backend.methods import load_method
from backend.train import Run, train

DISTRIBUTION_MATCHING = losses.distribution_matching


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, heed in before.items():
        signal.signal(number, heed)


@pytest.fixture(autouse=True)
def _few_samples() -> Iterator[None]:
    """What is shown and scored is drawn of fewer samples and in fewer steps: here it only matters that it is."""
    with pytest.MonkeyPatch.context() as patch:  # of its own, as tests undo theirs
        patch.setattr(judge, "SCORED_SAMPLES", 60)
        patch.setattr(judge, "PREVIEW_SAMPLES", 10)
        patch.setattr(judge, "TEACHER_NFE", 4)
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


def add(path: Path, teacher: str = "digits", **training: Any) -> int:
    values = {"steps": 30, "batch_size": 2, "preview_every": 0, "checkpoint_every": 10, "threads": 1, **training}
    with ProjectFile.open(path) as opened:
        return opened.add_run(Recipe.from_values({"teacher": teacher, "method": "dmd2", "training": values}))


@pytest.fixture
def small(tiny_teacher: Callable[..., Path]) -> str:
    """A teacher that costs next to nothing."""
    return str(tiny_teacher())


def work(path: Path, run: int) -> tuple[int, Attempt]:
    status = worker.main([str(path), str(run)])
    with ProjectFile.open(path, readonly=True) as opened:
        return status, opened.attempts(run)[-1]


def after(calls: int, effect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let distribution matching do its work `calls` times and then something else."""
    real, made = losses.distribution_matching, [0]

    def stand_in(*arguments: Any) -> torch.Tensor:
        made[0] += 1
        return real(*arguments) if made[0] <= calls else effect(*arguments)

    monkeypatch.setattr(losses, "distribution_matching", stand_in)


def test_a_finished_run_has_its_last_step_saved_and_shown(project: Path) -> None:
    run = add(project)
    status, attempt = work(project, run)
    assert (status, attempt.outcome, attempt.last_step) == (0, "finished", 30)
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.find_checkpoint(run).step == 30
        assert max(sample.step for sample in opened.samples_after(run)) == 30
        assert "preview_frechet" in opened.latest_metrics(run)
        (start,) = (event.data["start"] for event in opened.events_after(run) if "start" in event.data)
        assert list(start) == ["imports", "teacher, prompts and data", "untrained student", "first step"]
        (told,) = (event for event in opened.events_after(run) if "machine" in event.data)
        assert told.data["machine"]["libraries"]["torch"] == version("torch")
        assert f", torch {version('torch')}, " in told.text
        assert "cpu (1 threads of " in told.text
        assert opened.check() == []


def test_the_first_thing_shown_is_the_student_then_its_score_then_the_teacher_in_full(
    project: Path, small: str
) -> None:
    run = add(project, small, steps=2)
    work(project, run)
    with ProjectFile.open(project, readonly=True) as opened:
        kinds = [(sample.kind, sample.step) for sample in opened.samples_after(run) if sample.step < 2]
        scores = opened.find_series(run, "preview_frechet")
        assert scores is not None
        assert opened.points(scores).steps.tolist() == [0, 2]
    views = [(kind, 1) for kind in VIEWS]
    assert list(dict.fromkeys(kinds)) == [("preview", 0), *views, ("teacher_at_student_nfe", 0), ("teacher", 0)]


def test_the_student_that_is_shown_after_the_first_step_is_the_one_before_it(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn late, so that the first point comes early."""
    shown: dict[int, list[torch.Tensor]] = {}
    before: list[torch.Tensor] = []
    record = worker.Worker._record_samples

    def recording(it: worker.Worker, step: int, kind: str, net: torch.nn.Module, *rest: Any) -> None:
        if kind == "preview":
            shown[step] = [p.detach().clone() for p in net.parameters()]
        record(it, step, kind, net, *rest)  # type: ignore[arg-type]

    def training(run: Run) -> Iterator[Any]:
        before.extend(p.detach().clone() for p in run.exported.parameters())
        for progress in train(run):
            for parameter in run.exported.parameters():
                parameter.detach().add_(0.01)  # a step that certainly changes the student
            yield progress

    monkeypatch.setattr(worker.Worker, "_record_samples", recording)
    monkeypatch.setattr(worker, "train", training)
    work(project, add(project, small, steps=1))
    assert all(map(torch.equal, shown[0], before))
    assert not all(map(torch.equal, shown[1], before))


def test_a_run_added_without_its_methods_declaration_gets_it_from_the_worker(project: Path, small: str) -> None:
    run = add(project, small, steps=1)
    work(project, run)
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.run(run).declaration == load_method("dmd2").settings.model_json_schema()


def test_a_loss_that_is_not_finite_stops_at_the_last_good_checkpoint(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(24, lambda x, *_: (x * torch.nan).mean(), monkeypatch)
    status, attempt = work(project, run := add(project, small))
    assert (status, attempt.outcome) == (1, "failed")
    assert attempt.reason == (
        "The loss of student was not finite at step 25, first its matching. The last good checkpoint is at step 20; "
        "go back to it with a lower learning_rate_factor."
    )
    with ProjectFile.open(project, readonly=True) as opened:
        assert [c.step for c in opened.checkpoints(run)] == [10, 20]


def test_a_codec_leaves_the_device_after_every_preview(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[tuple[str, int]] = []

    def told(part: str, does: Callable[..., Any]) -> Callable[..., Any]:
        def doing(it: Any, *rest: Any) -> Any:
            where.append((part, it.run.step))
            return does(it, *rest)

        return doing

    monkeypatch.setattr(worker.Worker, "_record_samples", told("drawn", worker.Worker._record_samples))
    monkeypatch.setattr(worker.Worker, "_show_views", told("viewed", worker.Worker._show_views))
    monkeypatch.setattr(worker, "leave", lambda codec, device: where.append((f"left {device}", -1)))
    status, _ = work(project, add(project, small, steps=4, preview_every=2, checkpoint_every=0))
    assert status == 0
    steps, left = [], ("left cpu", -1)
    for before, after in itertools.pairwise([*where, ("", 0)]):
        if before != left and after[1] != before[1]:
            assert after == left, where  # nothing is trained between the last that is drawn and this
            steps.append(before[1])
    assert steps == [1, 1, 2, 4]  # the student before training, and then its teacher, are drawn after the first step


def test_out_of_memory_says_what_to_lower_in_order(project: Path, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    after(3, full, monkeypatch)
    _, attempt = work(project, add(project, small))
    assert attempt.reason.startswith("The device is out of memory (the machine has ")
    said = attempt.reason.partition("; what would help, the most first: ")[2]
    assert said.startswith("compute activations again where gradients need them (gradient checkpointing)")
    assert "; take 2 batches of 1 for a step, instead of 1 of 2; " in said
    assert "batch size" not in said  # it is 2
    assert "student of one step" not in said  # it has no more


def test_a_fault_keeps_its_traceback(project: Path, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("boom")

    after(3, fault, monkeypatch)
    run = add(project, small)
    with pytest.raises(AssertionError):
        worker.main([str(project), str(run)])
    with ProjectFile.open(project, readonly=True) as opened:
        attempt = opened.attempts(run)[-1]
    assert attempt.outcome == "failed"
    assert "boom" in attempt.traceback


def test_a_missing_teacher_is_named(project: Path) -> None:
    _, attempt = work(project, add(project, teacher="no-such-folder"))
    assert attempt.outcome == "failed"
    assert attempt.reason.startswith("The teacher no-such-folder does not exist")


def test_a_damaged_checkpoint_is_named_and_passed_over(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(24, lambda x, *_: (x * torch.nan).mean(), monkeypatch)
    run = add(project, small)
    work(project, run)
    monkeypatch.undo()
    with ProjectFile.open(project, readonly=True) as opened:
        newest = opened.checkpoint_path(opened.find_checkpoint(run))
    newest.write_bytes(newest.read_bytes()[:1000])
    status, attempt = work(project, run)
    assert (status, attempt.outcome, attempt.first_step) == (0, "finished", 11)
    with ProjectFile.open(project, readonly=True) as opened:
        assert any("damaged" in event.text for event in opened.events_after(run))


def test_a_disk_with_no_room_for_the_next_checkpoint_stops_the_run_at_the_last_and_it_goes_on_from_there(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add(project, small)
    with ProjectFile.open(project, readonly=True) as opened:
        size = checkpoints.size(start_run(opened.recipe(run)))
    fits = size + worker.LEFT_FREE_BYTES
    free = iter([fits, fits - 1, fits - 1])  # for the checkpoint of step 10, for that of 20, for the sentence
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=next(free)))
    status, attempt = work(project, run)
    assert (status, attempt.outcome) == (1, "failed")
    needed, left = (math.ceil(count / 2**20) for count in (fits, fits - 1))
    assert attempt.reason == (
        f"The disk that holds {project.parent} is full: a checkpoint, with 200 MiB left to the project, needs "
        f"{needed} MiB and {left} MiB are free; free some space and resume the run. "
        "The last good checkpoint is at step 10."
    )
    monkeypatch.undo()
    status, attempt = work(project, run)
    assert (status, attempt.outcome, attempt.first_step, attempt.last_step) == (0, "finished", 11, 30)


def test_the_room_that_is_asked_for_grows_with_the_checkpoint(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "size", lambda run: 3 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3 * 2**30))
    _, attempt = work(project, add(project, small))
    assert "needs 3,272 MiB and 3,072 MiB are free" in attempt.reason
    assert "The last good checkpoint" not in attempt.reason


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_is_no_fault_of_the_program(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: dict[str, torch.Tensor], file: Path, about: dict[str, str]) -> None:
        if about["step"] == "20":
            file.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, file, about)

    monkeypatch.setattr(checkpoints, "save_file", full)
    run = add(project, small)
    status, attempt = work(project, run)
    folder = project.with_suffix(".files") / "checkpoints" / f"run-{run}"
    assert (status, attempt.outcome) == (1, "failed")
    with ProjectFile.open(project, readonly=True) as opened:
        size = math.ceil(checkpoints.size(start_run(opened.recipe(run))) / 2**20)
    assert attempt.reason == (
        f"The checkpoint of step 20 of {size} MiB could not be written to {folder} "
        "(No space left on device (os error 28)); make room for it there, or let the program write there, and resume "
        "the run. The last good checkpoint is at step 10."
    )
    assert [file.name for file in folder.iterdir()] == [f"step-00000010-{attempt.id}.safetensors"]
    monkeypatch.undo()
    status, attempt = work(project, run)
    assert (status, attempt.outcome, attempt.first_step) == (0, "finished", 11)


def _ended(project: ProjectFile, attempt: int) -> int:
    project.end_attempt(attempt, "failed")
    return attempt


def test_what_a_kill_left_of_a_checkpoint_is_deleted_by_the_next_attempt(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add(project, small, steps=1, checkpoint_every=0)
    folder = project.with_suffix(".files") / "checkpoints" / f"run-{run}"
    folder.mkdir(parents=True)
    with ProjectFile.open(project) as opened:
        living, killed = (_ended(opened, opened.prepare_attempt(run).id) for _ in range(2))
    left = {of: checkpoints.unfinished(folder / f"step-00000020-{of}.safetensors") for of in (killed, living)}
    for file in left.values():
        file.write_bytes(b"half")
    monkeypatch.setattr(liveness, "has_process", lambda attempt: attempt.id == living)
    work(project, run)
    assert {of: file.exists() for of, file in left.items()} == {killed: False, living: True}


def test_only_the_newest_checkpoints_and_the_best_stay(project: Path, small: str) -> None:
    run = add(project, small, steps=20, checkpoint_every=2, preview_every=10, keep_checkpoints=2)
    work(project, run)
    with ProjectFile.open(project, readonly=True) as opened:
        kept = opened.checkpoints(run)
        assert [c.step for c in kept][-2:] == [18, 20]
        assert len(kept) <= 3
        assert sum(c.is_best for c in kept) == 1
        assert len(opened.checkpoints(run, kept=False)) == 10
        folder = opened.files / "checkpoints" / f"run-{run}"
        assert {p.name for p in folder.iterdir()} == {opened.checkpoint_path(c).name for c in kept}


def test_a_stage_is_shown_with_its_own_steps_and_only_the_last_ones_compete_for_the_best(
    project: Path, small: str
) -> None:
    """More evaluations make better pictures, so a student of the first stage would win against the finished one."""
    values = {"steps": 6, "batch_size": 2, "preview_every": 1, "checkpoint_every": 1, "threads": 1}
    values["keep_checkpoints"] = 6
    settings = {"student_steps": 1, "start_steps": 4}
    with ProjectFile.open(project) as opened:
        asked = {"teacher": small, "method": "progressive", "settings": settings, "training": values}
        run = opened.add_run(Recipe.from_values(asked))
    work(project, run)
    with ProjectFile.open(project, readonly=True) as opened:
        drawn = [sample for sample in opened.samples_after(run) if sample.kind not in VIEWS]
        shown = {(s.kind, s.step): len(s.sampler["levels"]) for s in drawn}
        early = load_student(opened, run, "3")
        (best,) = (c for c in opened.checkpoints(run) if c.is_best)
    assert [shown["preview", step] for step in range(7)] == [4, 4, 4, 2, 2, 1, 1]
    assert shown["teacher_at_student_nfe", 0] == 1
    assert early.sampler.nfe == 2
    assert best.step in (5, 6)


def at_step(step: int, do: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something be asked of the run as soon as it has taken this step."""
    obey = worker.Worker._obey

    def stand_in(self: worker.Worker) -> None:
        if self.run.step == step:
            do(self.path, self.run_id)
            while not self.recorder.pending_commands():
                self.recorder.flush()
        obey(self)

    monkeypatch.setattr(worker.Worker, "_obey", stand_in)


def ask_to_set(**values: Any) -> Any:
    def ask(path: Path, run: int) -> None:
        with ProjectFile.open(path) as opened:
            opened.issue(run, "set", values)

    return ask


def results(path: Path, run: int) -> list[str | None]:
    with ProjectFile.open(path, readonly=True) as opened:
        return [command.result for command in opened.commands(run)]


@pytest.mark.parametrize("to", [7, 4])
def test_the_length_of_a_run_can_be_changed_while_it_goes_on(
    to: int, project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(4, ask_to_set(steps=to, checkpoint_every=1), monkeypatch)
    status, attempt = work(project, run := add(project, small, checkpoint_every=0))
    assert results(project, run) == ["Done."]
    assert (status, attempt.outcome, attempt.last_step) == (0, "finished", to)
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.find_checkpoint(run).step == to
        assert [c.step for c in opened.checkpoints(run, kept=False)] == [*range(5, to), to]
        assert max(sample.step for sample in opened.samples_after(run)) == to
        assert opened.training(run).steps == to
        assert opened.recipe(run).training.steps == 30
        (event,) = (event for event in opened.events_after(run) if event.kind == "set")
    assert (event.text, event.step) == (f"Set steps to {to}, checkpoint_every to 1.", 4)


def test_what_was_set_outlives_the_process(project: Path, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(2, ask_to_set(steps=6, checkpoint_every=2), monkeypatch)
    after(5, lambda x, *_: (x * torch.nan).mean(), monkeypatch)
    run = add(project, small, checkpoint_every=0)
    assert work(project, run)[1].outcome == "failed"
    monkeypatch.undo()
    _, attempt = work(project, run)
    assert (attempt.first_step, attempt.last_step) == (5, 6)


def test_how_many_checkpoints_stay_is_changed_from_the_next_one_on_and_changes_no_weight(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = {"steps": 12, "checkpoint_every": 2, "keep_checkpoints": 3}
    with monkeypatch.context() as patch:
        at_step(7, ask_to_set(keep_checkpoints=1), patch)
        after(9, lambda x, *_: (x * torch.nan).mean(), patch)
        run = add(project, small, **like)
        assert work(project, run)[1].outcome == "failed"
    with ProjectFile.open(project, readonly=True) as opened:
        assert [c.step for c in opened.checkpoints(run)] == [8]  # of 4, 6 and 8
        (event,) = (event for event in opened.events_after(run) if event.kind == "set")
        assert (event.text, event.step) == ("Set keep_checkpoints to 1.", 7)
    assert work(project, run)[1].outcome == "finished"
    other = add(project, small, **like)
    assert work(project, other)[1].outcome == "finished"
    with ProjectFile.open(project, readonly=True) as opened:
        assert [c.step for c in opened.checkpoints(run)] == [12]
        assert [c.step for c in opened.checkpoints(other)] == [8, 10, 12]
        assert opened.training(run).keep_checkpoints == 1
        assert opened.recipe(run).training.keep_checkpoints == 3
        weights = [load_file(opened.checkpoint_path(opened.find_checkpoint(one))) for one in (run, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": 2}, "steps is 2 and the run is at step 3 already; give at least that."),
        ({"steps": 0}, "steps is 0, below its lowest value 1; choose 1 or more steps."),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0, below its lowest value 1; choose 1 or more."),
        ({"steps": 8.5}, "steps is 8.5, which is no whole number; give one."),
        ({"preview_every": True}, "preview_every is True, which is no whole number; give one."),
        (
            {"preview_every": 1, "batch_size": 4},
            "batch_size cannot be set while the run goes on; "
            "steps, preview_every, checkpoint_every, keep_checkpoints and learning_rate_factor can.",
        ),
        (
            {},
            "Nothing was named to be set; "
            "steps, preview_every, checkpoint_every, keep_checkpoints and learning_rate_factor can be.",
        ),
        ({"learning_rate_factor": "half"}, "learning_rate_factor is 'half', which is no number; give one."),
        (
            {"learning_rate_factor": 0},
            "learning_rate_factor is 0, below its lowest value 0.001; choose between 0.001 and 10.",
        ),
    ],
)
def test_what_cannot_be_set_is_refused_in_a_sentence(
    values: dict[str, Any], sentence: str, project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(3, ask_to_set(**values), monkeypatch)
    _, attempt = work(project, run := add(project, small, steps=4))
    assert results(project, run) == [sentence]
    assert attempt.last_step == 4
    with ProjectFile.open(project, readonly=True) as opened:
        assert opened.training(run) == opened.recipe(run).training


def test_the_length_of_a_run_that_depends_on_it_is_not_changed(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(3, ask_to_set(steps=9), monkeypatch)
    _, attempt = work(project, run := add(project, small, steps=4, learning_rate_schedule="cosine"))
    (result,) = results(project, run)
    assert result is not None
    assert result.startswith("steps cannot be changed, because the learning rate falls along a cosine")
    assert attempt.last_step == 4


def test_signs_of_health_are_told_when_they_change_also_after_a_resume(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = iter(["good", "warning", "warning", "warning", "good"])

    def stand_in(seen: health.Seen, step: int, teacher: dict[str, float]) -> list[health.Finding]:
        assert teacher["class_std"] == pytest.approx(0.25, abs=0.01)
        assert [at for at, _ in seen.scores][-1] == step
        return [health.Finding("a", next(levels), f"At {step}.", "read")]  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "TEACHER_NFE", 50)  # for which the teacher brings its figures
    monkeypatch.setattr("backend.worker.Worker._show_teacher", lambda worker: None)
    monkeypatch.setattr(health, "findings", stand_in)
    monkeypatch.setattr("backend.watch.Diagnostics.due", False)
    after(24, lambda x, *_: (x * torch.nan).mean(), monkeypatch)
    run = add(project, preview_every=10)
    work(project, run)
    with monkeypatch.context() as undone:
        undone.setattr(losses, "distribution_matching", DISTRIBUTION_MATCHING)
        work(project, run)
    with ProjectFile.open(project, readonly=True) as opened:
        told = [event for event in opened.events_after(run) if event.kind == "health"]
    assert [(e.step, e.data["sign"], e.data["level"]) for e in told] == [
        (10, "a", "warning"),
        (24, "not_finite", "bad"),
        (30, "not_finite", "good"),
    ]
    assert (told[0].text, told[0].data["reading"]) == ("At 10.", "read")


def test_memory_is_recorded_with_the_steps(project: Path, small: str) -> None:
    run = add(project, small, steps=2)
    work(project, run)
    memory = studio.metrics(project, run)["memory_mib"]
    assert memory["step"][0] == 1
    assert memory["value"][0] > 50


def test_the_next_of_the_queue_is_started_however_a_run_ends(
    project: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(launch, "go_on_with_queue", asked.append)
    work(project, add(project, small, steps=1))
    work(project, add(project, teacher="no-such-folder"))
    after(0, lambda *_: 1 / 0, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        work(project, add(project, small))
    assert asked == [project] * 3


def test_previews_and_saves_leave_training_as_it_was(project: Path, small: str) -> None:
    watched = add(project, small, steps=9, preview_every=3, checkpoint_every=2)
    alone = add(project, small, steps=9, checkpoint_every=0)
    for run in (watched, alone):
        assert work(project, run)[0] == 0
    ours, theirs = studio.metrics(project, watched), studio.metrics(project, alone)
    assert ours["fake_score"] == theirs["fake_score"]
    assert ours["matching"] == theirs["matching"]
