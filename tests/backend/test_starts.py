"""A start in its parts, and the table of starts: of a tiny teacher, in processes of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend import starts
from backend.bench_tables import start_table
from backend.contract.errors import UserError
from backend.starting import Starting


def test_each_part_takes_what_went_by_since_the_one_before() -> None:
    moments: Iterator[float] = iter((107.0, 108.25, 110.0))
    start = Starting(lambda: next(moments), began=100.0)
    for part in ("imports", "teacher", "step"):
        start.done(part)
    assert start.seconds == {"imports": 7.0, "teacher": 1.25, "step": 1.75}
    assert start.words() == (
        "The first step was done 10.0 s after the process began: imports 7.0 s, teacher 1.2 s, step 1.8 s."
    )


@pytest.mark.long
def test_a_start_with_an_empty_cache_and_one_with_what_is_kept(tiny_model: Callable[[str], Path]) -> None:
    asked = {"captions": {"method": "dmd2"}}
    first, second = starts.rows(asked, str(tiny_model("sd")), 2)
    assert (first["cache"], second["cache"]) == ("empty", "kept")
    parts = ["imports", "teacher, prompts and data", "untrained student", "first step"]
    assert list(first["seconds"]) == list(second["seconds"]) == parts
    assert second["seconds"]["teacher, prompts and data"] < first["seconds"]["teacher, prompts and data"]
    lines, heads = start_table([first, second])
    assert [len(line) for line in lines] == [len(heads)] * 2
    assert heads == ["emoji with", "cache", *parts, "in all"]


@pytest.mark.long
def test_a_run_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ended before its first step: The teacher .* does not exist"):
        list(starts.rows({"nothing": {"method": "dmd2"}}, str(tmp_path / "gone")))
