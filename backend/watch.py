"""What a worker knows of a run's health: what was seen, what was said of it, and whether the student has collapsed."""

from collections import deque
from collections.abc import Mapping, Sequence

from backend import health, judge
from backend.contract.project_file import ProjectFile
from backend.contract.recorder import Recorder
from backend.contract.rows import LogEvent
from backend.diagnostics import Diagnostics, guidance_reading, is_reading, teacher_reading
from backend.train import Run


class Watch:
    """Told of every step and preview; says in the project what is news.

    collapse: the sign by which the student was just seen to have lost what it had learnt, and the step up to which it
    was surely good; who stops the run takes it.
    """

    def __init__(self, run: Run, recorder: Recorder) -> None:
        self._run, self._recorder = run, recorder
        self._diagnostics, self._reads_teacher = Diagnostics(run), True
        self._seen = health.Seen()
        self._signs: dict[str, health.Level] = {}
        self._good: dict[tuple[str, str], deque[int]] = {}
        self._begun = run.step
        self.collapse: tuple[health.Finding, int] | None = None

    def remember(self, project: ProjectFile, run_id: int) -> None:
        """What earlier attempts saw and said, up to the step from which this one goes on."""
        run, seen = self._run, self._seen
        self._begun = run.step
        for series in project.series(run_id):
            curve, name = project.points(series, last=run.step), series.name
            if is_reading(name):
                seen.readings[name] = list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
            elif not name.startswith("preview_"):
                seen.recent[name] = deque(curve.values[-health.RECENT :].tolist(), maxlen=health.RECENT)
            elif run.method.stage_sampler is None:  # previews of earlier stages may not be compared with later ones
                seen.figures[name.removeprefix("preview_")] = curve.values.tolist()
                if name.removeprefix("preview_") in judge.SCORES:
                    seen.scores = list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
        self._remember_said([event for event in project.events_after(run_id) if event.kind == "health"])

    def _remember_said(self, said: Sequence[LogEvent]) -> None:
        """What was said after the step from which this attempt goes on is taken back."""
        last: dict[str, health.Level] = {}
        for event in said:
            sign = event.data["sign"]
            last[sign] = event.data["level"]
            if (event.step or 0) <= self._run.step or sign == "not_finite":
                self._signs[sign] = last[sign]
        for sign, level in last.items():
            if level != self._signs.get(sign, "good"):
                say_finding(self._recorder, health.gone_back(sign, self._run.step), self._run.step)
                self._signs[sign] = "good"

    def add_step(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """One step's metrics. What is read beside them every so often, for the curves; news are said at once."""
        self._seen.add_step(metrics)
        if not self._diagnostics.due:
            return {}
        found, seen = self._diagnostics.look(), self._seen
        if self._reads_teacher:
            seen.teacher, seen.guidance = teacher_reading(self._run), guidance_reading(self._run)
            self._reads_teacher = False
        seen.add_readings(self._run.step, found)
        self._judge(self._run.step, "reading")
        return found

    def add_preview(self, step: int, score: float | None, figures: Mapping[str, float]) -> None:
        """One preview of the student as it will be used."""
        self._seen.add_preview(step, score, figures)
        self._judge(step, "preview")

    def _judge(self, step: int, after: str) -> None:
        """Say which signs of health have changed at a step. after: of what they are judged anew."""
        found = health.findings(self._seen, step, judge.stored_figures(self._run.teacher))
        if self._signs.get("not_finite") == "bad":  # of an earlier attempt
            found.append(health.finite_again(step))
        for finding in health.changes(self._signs, found):
            say_finding(self._recorder, finding, step)
            if finding.sign in health.COLLAPSE and finding.level == "bad":
                self.collapse = finding, self._good.get((finding.sign, after), [self._begun])[0]
        for finding in found:
            if finding.level == "good":
                # Two in a row make a sign bad, so that what was good last may have been the first of them.
                self._good.setdefault((finding.sign, after), deque([self._begun], maxlen=2)).append(step)


def say_finding(recorder: Recorder, finding: health.Finding, step: int, **more: int) -> None:
    """A sign of health has changed. more: of the event's data, such as the step to `go_back` to."""
    data = {"sign": finding.sign, "level": finding.level, "reading": finding.reading, **more}
    recorder.event("health", finding.sentence, step=step, data=data)
