"""A run's rows in words: known rows, known sentences."""

import math

import pytest

from app.models import run_words
from backend.contract.metrics import Pace
from backend.contract.rows import Attempt, Command, LogEvent, RunState


def attempt(number: int = 1, launched: float = 1000.0, ended: float | None = None) -> Attempt:
    return Attempt(number, 1, number, None, launched, launched, None, 1, 1, ended, None, "", "", None)


def command(verb: str, issued: float, acknowledged: float | None = None, **more: object) -> Command:
    values = {"finished": None, "result": None, "arguments": {}} | more
    return Command(1, 1, verb, issued=issued, acknowledged=acknowledged, **values)  # type: ignore[arg-type]


def health(id_: int, sign: str, level: str, step: int = 1, reading: object = None) -> LogEvent:
    return LogEvent(
        id_, 1, 1, step, 0.0, "health", f"{sign} {level}", {"sign": sign, "level": level, "reading": reading}
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3600 * 2 + 60 * 5, "2 h 5 min"),
        (3600 * 49, "2 days 1 h"),
    ],
)
def test_durations_are_as_coarse_as_one_says_them(seconds: float, words: str) -> None:
    assert run_words.duration(seconds, str) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (1.4444, "1.44"), (12345.6, "12346"), (0.00012, "1.20e-04"), (math.nan, "not finite")],
)
def test_figures_have_three_digits(value: float, words: str) -> None:
    assert run_words.figure(value) == words


def test_no_time_is_promised_before_the_pace_is_steady() -> None:
    assert run_words.time_left(10, 100, Pace(9.0, 4.0)) is None
    assert run_words.time_left(10, 100, Pace(0.0, 60.0)) is None
    assert run_words.time_left(10, 100, Pace(9.0, 6.0)) == 10.0


def test_vitals_name_only_what_is_known() -> None:
    state, latest = RunState("running", step=50), {"gpu_temperature": (50, 61.2), "memory_mib": (50, math.nan)}
    found = run_words.vitals(state, 100, Pace(5.0, 30.0), latest, [attempt(1), attempt(2)], 1010.0, str)
    assert [(v.name, v.value) for v in found] == [
        ("Elapsed", "10 s"),
        ("Pace", "5 steps/s"),
        ("Time left", "10 s"),
        ("GPU", "61 °C"),
        ("Attempt", "2"),
    ]
    ended = run_words.vitals(RunState("finished", step=100), 100, Pace(5.0), {}, [attempt(ended=1063.0)], 2000.0, str)
    assert [(v.name, v.value) for v in ended] == [("Elapsed", "1 min 3 s")]


def test_a_request_is_asked_acknowledged_and_done() -> None:
    assert run_words.command_in_words(command("save", 10), 10.5, str) == "Save now: asked."
    assert "asked 30 s ago" in run_words.command_in_words(command("save", 10), 40, str)
    assert run_words.command_in_words(command("save", 10, 11), 40, str) == "Save now: acknowledged, under way."
    done = command("save", 10, 11, finished=12.0, result="Done.")
    assert run_words.command_in_words(done, 40, str) == "Save now: done."
    said = command("stop", 10, 11, finished=12.0, result="Stopped after step 7.")
    assert run_words.command_in_words(said, 40, str) == "Stop: Stopped after step 7."


def test_a_stop_is_ignored_after_a_minute() -> None:
    asked = [command("stop", 100.0, 101.0)]
    assert run_words.ignored_stop(asked, 159.0) is None
    assert run_words.ignored_stop(asked, 160.0) == asked[0]
    assert run_words.ignored_stop([command("stop", 100.0, finished=110.0)], 300.0) is None


def test_what_was_changed_while_the_run_went_on_is_in_force() -> None:
    events = [
        LogEvent(1, 1, 1, 5, 0.0, "set", "Set.", {"preview_every": 40}),
        LogEvent(2, 1, 1, 6, 0.0, "info", "Said.", {"preview_every": 1}),
        LogEvent(3, 1, 2, 7, 0.0, "set", "Set.", {"steps": 900}),
    ]
    asked = {"steps": 400, "preview_every": 250, "seed": 0}
    assert run_words.settings_in_force(asked, events) == {"steps": 900, "preview_every": 40, "seed": 0}


def test_signs_are_the_newest_of_each_worst_first() -> None:
    events = [
        health(1, "lags", "warning"),
        health(2, "diversity", "bad"),
        health(3, "peak", "warning", step=9),
        health(4, "diversity", "warning"),
        health(5, "finite", "bad"),
        health(6, "peak", "good"),
    ]
    assert [event.text for event in run_words.signs(events)] == ["finite bad", "lags warning", "diversity warning"]


def test_that_all_is_well_is_said_only_while_it_is() -> None:
    well = health(1, "overall", "good")
    assert run_words.overall([well]) == well
    assert run_words.overall([well, health(2, "lags", "warning")]) is None


def test_a_reading_is_a_sentence_or_named_figures() -> None:
    assert run_words.reading(health(1, "s", "bad", reading="It fell.")) == "It fell."
    assert run_words.reading(health(1, "s", "bad", reading={"fake_score": 0.12345, "n": 3})) == "fake score 0.123, n 3"
    assert run_words.reading(health(1, "s", "bad")) == ""
