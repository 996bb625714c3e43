"""What the check before a run says: `backend.preflight` finds it, the window shows it."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Suggestion:
    """What would change to make a run fit. change: dotted names of the recipe and their new values.

    left: about what share of the memory, time or disk remains with it; 1 where it is not known to be less.
    memory: about how many bytes the run would need with it; 0 where that is not known, or not what is short.
    """

    words: str
    change: dict[str, Any]
    left: float
    memory: int = 0


@dataclass(frozen=True)
class Finding:
    """A sentence, and the dotted name of the recipe's value beside which it belongs: `data`, `settings.gan_weight`.

    `settings` alone is the method's settings where it is about several of them, or about how they suit the teacher.
    """

    field: str
    words: str


@dataclass(frozen=True)
class Preflight:
    """What a run would be. `problems` must be mended before it can start; `warnings` should be read.

    suggestions: where memory, time or disk are short, what would help, the most first.

    evaluations_per_step: in forwards of the teacher per sample; a forward and backward of a trained network is 3.
    evaluations: the same for all samples of the whole run.
    disk: bytes of the checkpoints that stay. memory: bytes, of the device where it is a GPU, else all that the process
    of the dry run has needed; 0 where there was none.
    seconds: the whole run at the dry run's pace, without previews; None where there was none.
    """

    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    suggestions: list[Suggestion] = field(default_factory=list)
    teacher: str = ""
    method: str = ""
    device: str = ""
    parameters: int = 0
    evaluations_per_step: float = 0.0
    evaluations: float = 0.0
    disk: int = 0
    memory: int = 0
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the run can start."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As plain values. problems and warnings: the sentences. findings: the same, each with its kind and field."""
        kinds = {"problem": self.problems, "warning": self.warnings}
        return {
            "ok": self.ok,
            **asdict(self),
            "problems": [one.words for one in self.problems],
            "warnings": [one.words for one in self.warnings],
            "findings": [{"kind": kind, **asdict(one)} for kind, found in kinds.items() for one in found],
        }
