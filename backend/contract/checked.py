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
class Preflight:
    """What a run would be. `problems` must be mended before it can start; `warnings` should be read.

    suggestions: where memory, time or disk are short, what would help, the most first.

    evaluations_per_step: in forwards of the teacher per sample; a forward and backward of a trained network is 3.
    evaluations: the same for all samples of the whole run.
    disk: bytes of the checkpoints that stay. memory: bytes, of the device where it is a GPU, else all that the process
    of the dry run has needed; 0 where there was none.
    seconds: the whole run at the dry run's pace, without previews; None where there was none.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
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
        return {"ok": self.ok, **asdict(self)}
