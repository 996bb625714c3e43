"""The process that works on a run: project file -> train() -> project file.

    python -m backend.worker_process PROJECT RUN

It takes the recipe from the project, goes on from the last checkpoint where there is one, and is told what to do
through the project's command rows. It ends with an outcome and a sentence in its attempt; exit status 0 or 1.
"""

import copy
import gc
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from backend import checkpoints, disk, health, judge, pictures
from backend.assembly import device_of, left_out, method_of, start_run
from backend.awake import awake
from backend.checkpoints import CheckpointError
from backend.contract import launch, liveness
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile, ProjectFileError, files_folder
from backend.contract.recipe import Recipe, RecipeError, in_words, why_not_live
from backend.contract.recorder import Recorder
from backend.contract.rows import Command, Outcome
from backend.datasets import DataError
from backend.datasets.latents import leave
from backend.disk import DiskError
from backend.machine import in_words as machine_in_words
from backend.machine import machine
from backend.memory import keep_freed, peak_bytes
from backend.networks import Denoiser
from backend.samplers import Denoises, Sampler, teacher_sampler
from backend.savings import at_least, less_memory, memory_of
from backend.starting import Starting
from backend.stores import PART
from backend.teachers import TeacherError
from backend.telling import tell_of_end
from backend.train import NotFiniteError, Run, is_out_of_memory, train
from backend.triptych import triptych
from backend.vitals import Vitals, out_of_memory
from backend.watch import Watch, say_finding

PAUSE_POLL_SECONDS = 0.1
LEFT_FREE_BYTES = 200 * 2**20
"""What a checkpoint leaves of the disk to the project itself: its curves, its pictures, and how the run ended."""
USER_ERRORS = (RecipeError, TeacherError, DataError, CheckpointError, DiskError, ProjectFileError)


class Stopped(Exception):
    """The run was asked to stop, or stopped itself; the text is why."""


class Worker:
    """One attempt: feeds what `train` reports to the recorder and does what the project asks."""

    def __init__(self, path: Path, run_id: int, run: Run, recorder: Recorder, starting: Starting) -> None:
        self.path, self.run_id, self.run, self.recorder = path, run_id, run, recorder
        self.starting, self.interrupted = starting, threading.Event()
        self.vitals = Vitals(run.device)
        self.watch = Watch(run, recorder)
        self.saved_step = self.previewed_step = -1
        self.folder = files_folder(path) / "checkpoints" / f"run-{run_id}"
        self.best: float | None = None
        self.wall = 0.0

    def resume(self) -> None:
        """Go on from the newest checkpoint that can be read; a damaged one is named and passed over."""
        with ProjectFile.open(self.path, readonly=True) as project:
            saved = project.checkpoints(self.run_id)
            places = [(c, project.checkpoint_path(c)) for c in reversed(saved)]
            self._clear_left(project)
        scores = [c.meta["score"] for c in saved if c.meta.get("score") is not None]
        self.best = min(scores, default=None)
        for checkpoint, place in places:
            try:
                checkpoints.load(self.run, place)
            except CheckpointError as error:
                self.recorder.event("warning", str(error), step=checkpoint.step)
                continue
            self.saved_step = checkpoint.step
            self._remember()
            self.recorder.event("info", f"Goes on from the checkpoint at step {checkpoint.step}.", step=checkpoint.step)
            return
        if saved:
            raise CheckpointError("None of this run's checkpoints can be read; start a new run from its recipe.")

    def _clear_left(self, project: ProjectFile) -> None:
        """Delete what attempts that were killed while they saved have left half written."""
        for left in self.folder.glob(".step-*.unfinished"):
            attempt = left.name.split(".")[1].rpartition("-")[2]
            if int(attempt) != self.recorder.attempt and not liveness.has_process(project.attempt(int(attempt))):
                left.unlink(missing_ok=True)

    def _remember(self) -> None:
        """What earlier attempts set and saw, up to the step from which this one goes on."""
        with ProjectFile.open(self.path, readonly=True) as project:
            self.run.training = project.training(self.run_id)
            self.watch.remember(project, self.run_id)
        if self.run.step >= self.run.training.steps:
            self.previewed_step = self.run.step

    def work(self) -> None:
        """Train to the end. Raises `Stopped` when asked to stop, with the state saved."""
        run = self.run
        # An attempt that begins anew replaces what earlier ones showed before their first step, too.
        self.recorder.first_step(run.step + 1 if run.step else 0)
        untrained, sampler = None, run.sampler
        if run.step == 0:
            self.recorder.event("info", "Draws the student as it is before training.")
            # Whoever started the run waits for its first point; a student that is scored is copied, and drawn after it.
            untrained = copy.deepcopy(run.exported) if judge.can_measure(run.teacher) else None
            if untrained is None:
                self._show_untrained(run.exported, sampler)
        self.starting.done("untrained student")
        begun = time.monotonic()
        for progress in train(run):
            numbers = {name: float(value) for name, value in progress.metrics.items()}  # type: ignore[arg-type]
            self.wall = time.monotonic() - begun
            numbers |= self.watch.add_step(numbers)
            numbers |= self.vitals.due()
            self.recorder.metrics(progress.step, numbers, self.wall, progress.images, progress.nfe)
            self.starting.step(self.recorder)
            if run.step == 1:  # what is slow comes after the first point
                if untrained is not None:
                    self._show_untrained(untrained, sampler)
                    self._score(untrained, sampler, 0)
                    untrained = None
                self._show_teacher()
                leave(run.teacher.codec, run.device)
            if run.step < run.training.steps:
                self._show_and_save_what_is_due()
                self._stop_if_collapsed()
                self._obey()
        # Only now, because the last step may have been made an earlier one, and so be known only after it.
        if self.previewed_step != run.step:
            self.save(self.preview())
        self.save()

    def _show_untrained(self, net: Denoiser, sampler: Sampler) -> None:
        self._record_samples(0, "preview", net, sampler, {})
        self._show_views()
        leave(self.run.teacher.codec, self.run.device)
        self.previewed_step = 0

    def _show_and_save_what_is_due(self) -> None:
        step, training = self.run.step, self.run.training
        saves = bool(training.checkpoint_every and step % training.checkpoint_every == 0)
        score = self.preview() if training.preview_every and step % training.preview_every == 0 else None
        if saves or score is not None:
            self.save(score, always=saves)

    def preview(self) -> float | None:
        """Draw the preview grid and score it; the score by which the best checkpoint is found, smaller being better.

        None where nothing measures it, and in a stage whose student takes more steps than the finished one will.
        """
        score = self._score(self.run.exported, self.run.sampler, self.run.step)
        self._show_views()
        leave(self.run.teacher.codec, self.run.device)
        self.previewed_step = self.run.step
        return score

    def _score(self, net: Denoiser, sampler: Sampler, step: int) -> float | None:
        """Draw and score the student as it was at a step."""
        run = self.run
        figures = judge.figures(net, sampler, run.teacher, judge.SCORED_SAMPLES)
        scored = judge.score(figures)
        scores = {name: value for name, value in (figures.values if figures else {}).items() if value is not None}
        if scores:
            self.recorder.metrics(step, {f"preview_{name}": value for name, value in scores.items()}, self.wall)
        self._record_samples(step, "preview", net, sampler, scores)
        if sampler != run.last_sampler:
            return None
        score = scored[1] if scored else None
        self.watch.add_preview(step, score, scores)
        return score

    def _show_views(self) -> None:
        """The triptych of the student as it is."""
        for row in triptych(self.run):
            words, level = f"t = {row.t:.2f}", {"t": row.t}
            self.recorder.sample(
                self.run.step, row.kind, row.position, pictures.png(row.image), label=words, sampler=level
            )

    def _stop_if_collapsed(self) -> None:
        """Stop where the student has just lost what it had learnt, with the last good checkpoint kept."""
        collapse, self.watch.collapse = self.watch.collapse, None
        if collapse is None or self.run.training.on_collapse == "continue":
            return
        finding, good_until = collapse
        with ProjectFile.open(self.path, readonly=True) as project:
            saved = project.checkpoints(self.run_id)
        before = [one for one in saved if one.step <= good_until] or [one for one in saved if one.is_best]
        words = f"It stopped itself after step {self.run.step}: {finding.sentence[0].lower()}{finding.sentence[1:]} "
        if before:
            words += f"The checkpoint to go back to is at step {before[-1].step}; resuming goes on all the same."
        else:
            words += "There is no checkpoint from before; start again, or resume to go on all the same."
        self.save(gives_up=False)
        self.recorder.event("warning", words, step=self.run.step, data={"go_back": before[-1].step} if before else {})
        raise Stopped(words)

    def save(self, score: float | None = None, always: bool = True, gives_up: bool = True) -> None:
        """Save the state. Without `always` only a better score than all before is worth the disk.

        gives_up: whether an older checkpoint may go for it.
        """
        run, step = self.run, self.run.step
        better = score is not None and (self.best is None or score < self.best)
        if step == self.saved_step or not (always or better):
            return
        place = self.folder / f"step-{step:08d}-{self.recorder.attempt}.safetensors"
        try:
            self._require_room()
            checkpoints.save(run, place)
        except DiskError as error:
            last = f"The last good checkpoint is at step {self.saved_step}." if self.saved_step >= 0 else ""
            raise DiskError(f"{error} {last}".strip()) from error
        self.recorder.checkpoint(step, place, is_best=better, meta={"score": score})
        self.saved_step = step
        if better:
            self.best = score
        if gives_up:
            self._give_up_old()

    def _require_room(self) -> None:
        """Raise `DiskError` where the next checkpoint would fill the disk, so that nothing could be recorded after."""
        needed = checkpoints.size(self.run) + LEFT_FREE_BYTES
        if disk.free(self.path.parent) < needed:
            what = f"a checkpoint, with {LEFT_FREE_BYTES // 2**20} MiB left to the project,"
            raise disk.refusal(what, self.path.absolute().parent, needed)

    def _give_up_old(self) -> None:
        """Keep the newest checkpoints and the best; the rows of the others stay."""
        with ProjectFile.open(self.path, readonly=True) as project:
            kept = [(c, project.checkpoint_path(c)) for c in project.checkpoints(self.run_id)]
        for checkpoint, place in kept[: -self.run.training.keep_checkpoints]:
            # Through the recorder, so that this process writes through one connection and never waits for itself.
            if not checkpoint.is_best and self.recorder.give_up(checkpoint):
                place.unlink(missing_ok=True)

    def _show_teacher(self) -> None:
        """The teacher's own samples from the previews' noise: at the student's number of evaluations, and in full."""
        teacher, sampler = self.run.teacher, self.run.last_sampler
        self._record_samples(0, "teacher_at_student_nfe", teacher.guided, teacher_sampler(sampler.nfe), {})
        self._record_samples(0, "teacher", teacher.guided, teacher_sampler(judge.TEACHER_NFE), {})

    def _record_samples(
        self, step: int, kind: str, net: Denoises, sampler: Sampler, scores: Mapping[str, float]
    ) -> None:
        run = self.run
        vectors = len(run.student.shape) == 1
        cond = run.teacher.each_condition(judge.preview_count(run.student.shape)).to(run.device)
        samples = judge.draw(net, sampler, run.teacher, cond, judge.PREVIEW_SEED)
        tiles = [pictures.scatter(samples)] if vectors else [pictures.picture(sample) for sample in samples]
        names = () if vectors else run.teacher.prompts or run.teacher.labels  # in turn, as `each_condition` has them
        for position, tile in enumerate(tiles):
            label = names[position % len(names)] if names else ""
            self.recorder.sample(
                step,
                kind,
                position,
                pictures.png(tile),
                label=label,
                seed=judge.PREVIEW_SEED,
                sampler=sampler.to_json(),
                scores=scores,
            )

    # What the project asks

    def _obey(self) -> None:
        if self.interrupted.is_set():
            self.save()
            raise Stopped
        for command in self.recorder.pending_commands():
            match command.verb:
                case "stop":
                    self._stop(command)
                case "pause":
                    self._pause(command)
                case "resume":
                    self.recorder.finish(command, "It was not paused.")
                case _:
                    self._do(command)

    def _do(self, command: Command) -> None:
        """What can be done while the run goes on and while it is paused."""
        if command.verb == "set":
            self.recorder.finish(command, self._set(command.arguments))
            return
        self.preview() if command.verb == "sample" else self.save()
        self.recorder.finish(command)

    def _stop(self, command: Command) -> None:
        self.recorder.acknowledge(command)
        self.save()
        self.recorder.finish(command, f"Stopped after step {self.run.step}.")
        raise Stopped

    def _pause(self, pause: Command) -> None:
        self.recorder.acknowledge(pause)
        self.save()
        wakes = threading.Event()
        while not self.interrupted.is_set():
            for command in self.recorder.pending_commands():
                if command.verb in ("resume", "stop"):
                    self.recorder.finish(pause, f"Went on after step {self.run.step}.")
                    if command.verb == "stop":
                        self._stop(command)
                    self.recorder.finish(command)
                    return
                if command.verb == "pause":
                    self.recorder.finish(command, "It is paused already.")
                else:
                    self._do(command)
            wakes.wait(PAUSE_POLL_SECONDS)
        self.recorder.finish(pause)
        raise Stopped

    def _set(self, values: Mapping[str, Any]) -> str:
        """Change settings of training; what became of it."""
        wrong = self._why_not(values)
        if wrong:
            return wrong
        self.run.training = self.run.training.model_copy(update=dict(values))
        self.recorder.event("set", f"Set {in_words(values)}.", step=self.run.step, data=values)
        if "learning_rate_factor" in values:
            self.save()  # so that a run that is killed later goes on from where the change began to count
        return "Done."

    def _why_not(self, values: Mapping[str, Any]) -> str:
        training = self.run.training
        return why_not_live(training, values) or self._why_not_steps(values.get("steps", training.steps))

    def _why_not_steps(self, steps: int) -> str:
        run = self.run
        if steps == run.training.steps:
            return ""
        if steps < run.step:
            return f"steps is {steps} and the run is at step {run.step} already; give at least that."
        if run.training.learning_rate_schedule == "cosine":
            return (
                "steps cannot be changed, because the learning rate falls along a cosine that ends at the last step; "
                "start a new run with other steps, or with a constant learning rate."
            )
        if run.method.stage_sampler is not None:
            return f"steps cannot be changed, because {run.method.title} divides them into stages; start a new run."
        return ""


def main(arguments: list[str]) -> int:
    """Work on a run to its end, then have the next of the queue started, whatever the end was; the exit status."""
    keep_freed()
    path, run_id = Path(arguments[0]), int(arguments[1])
    try:
        with awake():
            return _work(path, run_id)
    finally:
        gc.collect()  # the next run needs the memory that this one had
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        tell_of_end(path, run_id)
        with suppress(UserError):  # this run has ended and said how; nobody would hear of it here
            launch.go_on_with_queue(path)


def _work(path: Path, run_id: int) -> int:
    starting = Starting()
    starting.done("imports")
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(run_id)
        recipe = project.recipe(run_id)
    run = None
    with Recorder(path, run_id, attempt) as recorder:
        try:
            trained_with = machine(recipe.training.device)
            recorder.event("info", machine_in_words(trained_with), data={"machine": trained_with})
            torch.set_num_threads(recipe.training.threads or torch.get_num_threads())
            with ProjectFile.open(path, readonly=True) as project:
                run = start_run(
                    recipe, project, pairs_made(recorder), encoded(recorder, "pictures"), encoded(recorder, "prompts")
                )
            for one in left_out(recipe, run.teacher, run.data):
                recorder.event("warning", one.words)
            data_hash = run.data.digest if run.data else None
            with ProjectFile.open(path) as project:
                project.set_hashes(run_id, teacher_hash=run.teacher.digest, data_hash=data_hash)
                project.set_declaration(run_id, run.method.settings.model_json_schema())
            worker = Worker(path, run_id, run, recorder, starting)
            _heed_signals(worker)
            worker.resume()
            starting.done("teacher, prompts and data")
            worker.work()
        except Stopped as stopped:
            return _end(recorder, "stopped", str(stopped) or "It was asked to stop.")
        except NotFiniteError as error:
            go_back = {"go_back": worker.saved_step} if worker.saved_step >= 0 else {}
            say_finding(recorder, health.not_finite(str(error), worker.saved_step), worker.run.step, **go_back)
            reason = f"{error} {health.after_break_down(worker.saved_step)}"
            return _end(recorder, "failed", reason, traceback.format_exc())
        except USER_ERRORS as error:
            return _end(recorder, "failed", str(error), traceback.format_exc())
        except BaseException as error:  # the process's outermost edge: whatever it was, the run must say so
            if is_out_of_memory(error):
                reason = _what_is_lacking(recipe, run)
                return _end(recorder, "failed", reason, traceback.format_exc())
            _end(recorder, "failed", f"A fault in the program ended it: {error!r}.", traceback.format_exc())
            raise
        return _end(recorder, "finished", "")


def _what_is_lacking(recipe: Recipe, run: Run | None) -> str:
    """What the device had too little of, and what would help. run: None where it was not even put together."""
    method, chosen = method_of(recipe)
    device = device_of(recipe.training.device)
    made_of = at_least(recipe, method, chosen, run, memory_of(device))
    return out_of_memory(device, less_memory(recipe, method, chosen, made_of, device))


def pairs_made(recorder: Recorder) -> Callable[[int, int], None]:
    """Says in the log, about every twentieth, how many noise/sample pairs are made."""

    def report(made: int, of: int) -> None:
        if made == of or made * 20 // of > (made - PART) * 20 // of:
            recorder.event("info", f"Made {made:,} of {of:,} noise/sample pairs.", data={"made": made, "of": of})

    return report


def encoded(recorder: Recorder, what: str) -> Callable[[int, int], None]:
    """Says in the log, about every twentieth, how many real pictures or prompts are encoded."""
    said = 0

    def report(done: int, of: int) -> None:
        nonlocal said
        if done == of or done * 20 // of > said:
            said = done * 20 // of
            recorder.event("info", f"Encoded {done:,} of {of:,} {what}.", data={"encoded": done, "of": of})

    return report


def _end(recorder: Recorder, outcome: Outcome, reason: str, trace: str = "") -> int:
    peak = peak_bytes()
    recorder.event("info", f"The process needed at most {peak / 2**20:.0f} MiB of memory.", data={"peak_bytes": peak})
    recorder.end(outcome, reason, trace)
    return 1 if outcome == "failed" else 0


def _heed_signals(worker: Worker) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.interrupted.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
