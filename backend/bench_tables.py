"""What `distill bench` has measured, as a person reads it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from backend.text_tables import columns, number

Cells = tuple[list[list[str]], list[str]]
"""Rows and heads."""


def lines(done: dict[str, Any]) -> Iterator[str]:
    """Each table that was measured, one after the other."""
    for name, cells in TABLES.items():
        if name in done:
            yield from columns(*cells(done[name]))
        if name == "step" and "recording" in done:
            yield from recording_words(done["recording"])
    yield f"{done['threads']} threads"


def step_table(by_method: dict[str, Any]) -> Cells:
    """A row for each method: a step's time, and the share of it outside the networks."""
    rows = [
        [name, f"{1000 * row['seconds_per_step']:.0f} ms", f"{row['share_outside_networks']:.1%}"]
        for name, row in by_method.items()
    ]
    return rows, ["method", "step, batch 64", "outside networks"]


def recording_words(row: dict[str, Any]) -> Iterator[str]:
    """What recording costs a step: by the clock with its error, and at most, by what it computes."""
    change, error = row["step_time_change"], row["step_time_change_error"]
    yield f"recording {row['rows_per_second']:.0f} rows/s: step time {change:+.2%} (error {error:.2%});"
    share, calls = row["recorder_core_share"], row["calls_share"]
    yield f"handing rows over takes {calls:.2%} of the step's own thread, and the recorder"
    yield "an unknown share of a core;" if share is None else f"{share:.2%} of a core: at most {calls + share:.2%};"
    yield f"{row['rows_kept']} of {row['rows_recorded']} rows are kept"


def acceleration_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each way to sample a teacher: its time, and how far its pictures are from those in full."""
    found = [
        [row["teacher"], row["name"], str(row["nfe"]), f"{1000 * row['seconds_per_picture']:.1f} ms"]
        + [f"{row[name]:.3g}" for name in ("times_faster", "times_faster_alone", "rms", "frechet")]
        for row in rows
    ]
    return found, ["teacher", "way", "NFE", "per picture", "times faster", "one alone", "difference", "Frechet"]


def start_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each start: seconds of each of its parts, and from the process's beginning to the first step."""
    found = [
        [row["with"], row["cache"], *(f"{seconds:.1f} s" for seconds in (*row["seconds"].values(), _whole(row)))]
        for row in rows
    ]
    return found, ["emoji with", "cache", *rows[0]["seconds"], "in all"]


def _whole(row: dict[str, Any]) -> float:
    return math.fsum(row["seconds"].values())


def memory_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each recipe: MiB that preflight predicts, that the worker needed, and that are the program alone."""
    heads = ["teacher", "method", "batch", "with", "predicted", "needed", "off", "program", "off beyond it", ""]
    found = [
        [
            *(str(row[name]) for name in ("teacher", "method", "batch_size", "extra")),
            *(f"{row[name]:,.0f} MiB" if row[name] else "-" for name in ("predicted", "needed")),
            _off(row["off"]),
            f"{row['base']:,.0f} MiB" if row["base"] else "-",
            _off(row["off_beyond_base"]),
            "" if row["ok"] else row["problem"] or "MISSED",
        ]
        for row in rows
    ]
    return found, heads


def _off(share: float | None) -> str:
    return "-" if share is None else f"{share:+.0%}"


def proofs_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each method: its proof's figure with and without its key term, and what is required."""
    head = ["method", "bench", "figure", "with", "without", "required", "specification", ""]
    found = [
        [
            *(row[name] for name in ("method", "bench", "figure")),
            *(f"{row[name]:.3g}" for name in ("with", "without", "required")),
            row["specification"],
            "" if row["ok"] else "MISSED",
        ]
        for row in rows
    ]
    return found, head


def health_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each run with a fault and without: the sign that names it, when, and the reading behind it."""
    head = ["fault", "method", "bench", "sign", "step", "reading", "other signs", ""]
    found = [
        [
            *(row[name] for name in ("fault", "method", "bench", "sign")),
            "" if row["step"] is None else str(row["step"]),
            row["reading"],
            ", ".join(row["others"]),
            "" if row["ok"] else "MISSED" if row["sign"] else "FALSE ALARM",
        ]
        for row in rows
    ]
    return found, head


def guidance_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each student that folds guidance in; in brackets its guided teacher, and that without guidance."""
    heads = ["method", "teacher", "guidance", "NFE", "agreement", "Frechet", "rms to the teacher's", "adapters"]
    cells = [
        [row["method"], row["teacher"], f"{row['guidance']:g}", f"{row['nfe']} ({row['teacher_nfe']})"]
        + [
            f"{row[name]:.3f} ({row[f'teacher_{name}']:.3f}; {row[f'unguided_{name}']:.3f})"
            for name in ("agreement", "frechet")
        ]
        + [
            f"{row['rms']:.3f} ({row['unguided_rms']:.3f})",
            "" if row["adapters"] is None else f"{100 * row['adapters']:.1f} %",
        ]
        for row in rows
    ]
    return cells, heads


def prompts_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each student of the text-to-image teacher: what it has learnt, and what it had without training."""
    heads = ["method", "NFE", "steps", "agreement before", "after", "Frechet before", "after", ""]
    cells = []
    for row in rows:
        figures = [row[when].get(name) for name in ("agreement", "frechet") for when in ("before", "after")]
        numbers = ["" if figure is None else f"{figure:.3f}" for figure in figures]
        cells.append([row["method"], str(row["nfe"]), str(row["steps"] or ""), *numbers, row["problem"]])
    return cells, heads


def quality_table(rows: list[dict[str, Any]]) -> Cells:
    """Rows and heads: Frechet distance of pictures, sliced Wasserstein distance in the plane."""
    heads = ["method", "teacher", "steps", "NFE", "student", "teacher at the same NFE", "teacher in full"]
    cells = []
    for row in rows:
        sides = [row[way] for way in ("student", "teacher_at_student_nfe", "teacher")]
        figures = [number(side.get("frechet", side.get("sliced_wasserstein"))) for side in sides]
        cells.append([row["method"], row["on"], str(row["steps"]), str(row["nfe"]), *figures])
    return cells, heads


def budget_table(rows: list[dict[str, Any]]) -> Cells:
    """A row for each method and number of evaluations: means over seeds, and how far Frechet distances spread."""
    heads = ["method", "NFE", "seeds", "Frechet", "spread", "precision", "recall", "class accuracy", ""]
    cells = [
        [row["method"], str(row["nfe"]), str(row["seeds"])]
        + [f"{row[name]:.3f}" for name in ("frechet", "spread", "precision", "recall", "class_accuracy")]
        + [f"{row['failed']} failed" if row["failed"] else ""]
        for row in rows
    ]
    return cells, heads


TABLES: dict[str, Callable[[Any], Cells]] = {
    "step": step_table,
    "start": start_table,
    "acceleration": acceleration_table,
    "memory": memory_table,
    "methods": proofs_table,
    "health": health_table,
    "guidance": guidance_table,
    "prompts": prompts_table,
    "quality": quality_table,
    "budget": budget_table,
}
