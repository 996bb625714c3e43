"""Every verb of the command line: what it prints, what it leaves behind, and how it ends."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from backend import losses, studio
from backend.contract import launch
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile, files_folder
from backend.contract.recipe import Recipe
from backend.contract.rows import VIEWS

Distill = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


def tiny(lab, *more: object) -> list[object]:
    """Arguments of a run of four tiny steps."""
    settings = ("batch_size=2", "threads=1", "preview_every=0", "checkpoint_every=2")
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["--teacher", lab.teacher, "--method", "dmd2", "--steps", 4, *chosen, *more]


# What the backend offers


def test_methods_are_listed(distill):
    listed = distill("methods", "--json").json
    assert {card["key"] for card in listed["methods"]} >= {"consistency", "dmd2", "gdd", "progressive"}
    assert listed["broken"] == []
    assert "arXiv:2405.14867" in distill("methods").out


def test_a_method_shows_its_settings_with_defaults_units_and_ranges(distill):
    card = distill("methods", "dmd2", "--json").json
    about = card["settings"]["properties"]["student_steps"]
    assert (about["default"], about["minimum"], about["maximum"], about["unit"]) == (1, 1, 8, "steps")
    row = next(line for line in distill("methods", "dmd2").out.splitlines() if line.startswith("student_steps"))
    assert "1 to 8 steps" in row


def test_teachers_are_listed(distill):
    assert {card["key"] for card in distill("teachers", "--json").json["teachers"]} >= {"mixture-2d", "digits"}
    assert "1x16x16" in distill("teachers").out


def test_a_teacher_is_described_without_its_weights(distill, tiny_teacher):
    folder = tiny_teacher(title="Nameless", data=None)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    header = int.from_bytes(content[:8], "little") + 8
    file.write_bytes(content[:header] + bytes([255]) * (len(content) - header))  # NaN everywhere
    begun = time.process_time()
    card = distill("teachers", folder, "--json").json
    assert time.process_time() - begun < 2
    assert (card["title"], card["shape"], card["prediction_type"]) == ("Nameless", [1, 16, 16], "edm")
    assert set(card["methods_with_data"]) >= {"consistency", "gdd", "progressive"}
    assert "dmd2" in card["methods"]
    assert f"methods that can use it: {', '.join(card['methods'])}" in distill("teachers", folder).out


def test_a_kind_of_the_mixture_is_described(distill):
    card = distill("teachers", "mixture-2d:flow", "--json").json
    assert (card["prediction_type"], card["path"], card["methods_with_data"]) == ("flow", "FlowMatching", [])


# Runs


def test_new_makes_a_project_and_adds_the_suffix(distill, tmp_path):
    assert distill("new", tmp_path / "lab", "--json").json == {"project": str(tmp_path / "lab.distill")}
    assert distill("runs", tmp_path / "lab", "--json").json == {"runs": []}
    assert "No runs yet" in distill("runs", tmp_path / "lab").out


def test_preflight_prints_figures(distill, lab, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(lab.recipe()))
    found = distill("preflight", lab.project, "--recipe", recipe, "--json")
    assert (found.status, found.json["ok"], found.json["problems"]) == (0, True, [])
    assert "forwards per step" in distill("preflight", lab.project, "--recipe", recipe).out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs"], "Missing argument 'project'."),
        (["runs", "lab", "--loud"], "No such option: --loud"),
        (
            ["bench", "speed"],
            "'speed' is not one of 'step', 'recording', 'start', 'acceleration', 'memory', 'methods', 'health', "
            "'guidance', 'prompts', 'quality', 'budget'.",
        ),
        (["distil"], "No such command 'distil'"),
    ],
)
def test_a_command_that_is_not_understood_is_answered_in_json_where_that_was_asked(distill, arguments, sentence):
    done = distill(*arguments, "--json")
    assert done.status == 2
    assert sentence in done.json["error"]
    assert sentence in done.err
    plain = distill(*arguments)
    assert (plain.status, plain.out) == (2, "")
    assert sentence in plain.err


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, EOFError])
def test_an_interrupted_command_says_so_and_ends_with_130(distill, monkeypatch, interruption):
    def interrupted(*_):
        raise interruption

    monkeypatch.setattr(studio, "new", interrupted)
    done = distill("new", "lab", "--json")
    assert (done.status, done.json) == (130, {"error": "Interrupted."})


def test_distill_alone_says_what_there_is(distill):
    found = distill()
    assert found.status == 0
    assert all(verb in found.out for verb in ("demo", "preflight", "export"))


@pytest.mark.usefixtures("in_process")
def test_run_takes_settings_of_method_and_training_alike(distill, lab, project):
    more = ("--set", "learning_rate=0.002", "--set", "batch_size=3", "--seed", 5, "--name", "mine")
    done = distill("run", project, *tiny(lab)[:6], *more, "--set", "threads=1", "--json")
    assert done.status == 0
    assert (done.json["name"], done.json["state"], done.json["step"]) == ("mine", "finished", 4)
    assert "run 1 finished, step 4/4" in done.err
    with ProjectFile.open(project, readonly=True) as opened:
        recipe = opened.recipe(1)
        declaration = opened.run(1).declaration
    assert recipe.settings["learning_rate"] == 0.002
    assert recipe.settings["guidance_scale"] == 1.0  # a default is kept too: a later version may have another
    assert (recipe.training.batch_size, recipe.training.seed, recipe.training.steps) == (3, 5, 4)
    assert recipe.training.ema_decay == 0.99  # the method's own
    assert "learning_rate" in declaration["properties"]


@pytest.mark.usefixtures("in_process")
def test_run_takes_a_recipe_and_changes_to_it(distill, lab, project, tmp_path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(lab.recipe(preview_every=0)))
    assert distill("run", project, "--recipe", recipe, "--steps", 2, "--detach", "--json").json["state"] == "finished"
    with ProjectFile.open(project, readonly=True) as opened:
        recipe_of_run = opened.recipe(1)
    assert (recipe_of_run.training.steps, recipe_of_run.training.batch_size) == (2, 2)


def test_what_preflight_warns_of_is_said_before_the_run(distill, tiny_teacher, live):
    start = ("--set", "first_level=1")
    teacher = tiny_teacher("digits-eps")
    done = distill("run", live, "--teacher", teacher, "--method", "dmd2", *start, "--detach", "--json")
    assert done.json["state"] == "running"
    assert done.err.startswith("warning: The teacher predicts epsilon and the student starts where alpha is 0.0064")


@pytest.mark.usefixtures("in_process")
def test_a_run_that_fails_says_why_and_ends_with_1(distill, lab, project, monkeypatch):
    monkeypatch.setattr(losses, "distribution_matching", lambda x, *_: (x * torch.nan).mean())
    done = distill("run", project, *tiny(lab), "--json")
    assert (done.status, done.json["state"]) == (1, "failed")
    assert done.json["reason"].startswith("The loss of student was not finite at step 1, first its ")


@pytest.fixture
def live(lab, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which a run that is started is worked on by this process, which never gets on with it."""

    def begin(path: Path, run: int, **_: object) -> int:
        with ProjectFile.open(path) as opened:
            attempt = opened.begin_attempt(run)
            opened.set_first_step(attempt, 1)
        return attempt

    monkeypatch.setattr(launch, "start_worker", begin)
    return project


def end(path: Path, outcome: Any = "stopped") -> None:
    with ProjectFile.open(path) as opened:
        opened.end_attempt(opened.attempts(1)[-1].id, outcome, "It was asked to stop.")


def test_a_detached_run_goes_on(distill, lab, live):
    done = distill("run", live, *tiny(lab), "--detach", "--json")
    assert (done.status, done.json["state"]) == (0, "running")
    assert distill("runs", live, "--json").json["runs"][0]["state"] == "running"


def test_pause_resume_and_stop_ask_the_run(distill, lab, live, monkeypatch):
    distill("run", live, *tiny(lab), "--detach", "--name", "night")
    asked = distill("pause", live, "night", "--json").json
    assert asked["run"] == 1
    with ProjectFile.open(live) as opened:
        opened.acknowledge(asked["command"])
    assert distill("runs", live, "--json").json["runs"][0]["state"] == "paused"

    def wake(_seconds: float) -> None:  # what the run does while the command waits for it
        with ProjectFile.open(live) as opened:
            opened.finish(asked["command"])

    monkeypatch.setattr(time, "sleep", wake)
    assert distill("resume", live, 1, "--json").json == {"run": 1, "state": "running"}
    stop = distill("stop", live, 1, "--json").json["command"]
    assert distill("stop", live, 1, "--json").json["command"] == stop
    with ProjectFile.open(live, readonly=True) as opened:
        assert [command.verb for command in opened.commands(1)] == ["pause", "resume", "stop"]


def test_a_stopped_run_is_resumed_by_a_new_process(distill, lab, live):
    distill("run", live, *tiny(lab), "--detach")
    end(live)
    assert distill("resume", live, 1, "--json").json["state"] == "running"
    with ProjectFile.open(live, readonly=True) as opened:
        assert len(opened.attempts(1)) == 2


def test_ctrl_c_stops_the_run_and_waits_for_it(distill, lab, live, monkeypatch):
    real, calls = studio.follow, []

    def follow(path: Path, run: int) -> Iterator[studio.Watched]:
        calls.append(run)
        if len(calls) == 1:
            raise KeyboardInterrupt
        end(path)
        yield from real(path, run)

    monkeypatch.setattr(studio, "follow", follow)
    done = distill("run", live, *tiny(lab), "--json")
    assert (done.status, done.json["state"]) == (130, "stopped")
    assert f"`distill resume {live} 1` goes on." in done.err
    with ProjectFile.open(live, readonly=True) as opened:
        assert [command.verb for command in opened.commands(1)] == ["stop"]


def test_a_second_ctrl_c_leaves_the_run_to_itself(distill, lab, live, monkeypatch):
    def follow(path: Path, run: int) -> Iterator[studio.Watched]:
        raise KeyboardInterrupt

    monkeypatch.setattr(studio, "follow", follow)
    assert distill("run", live, *tiny(lab)).status == 130
    assert distill("runs", live, "--json").json["runs"][0]["state"] == "stopping"


def test_ctrl_c_anywhere_ends_with_130(distill, lab, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studio, "check", interrupted)
    assert distill("check", lab.project).status == 130


# What a run has left


def test_runs_are_listed(distill, lab):
    row = distill("runs", lab.project, "--json").json["runs"][0]
    assert (row["run"], row["name"], row["state"], row["step"], row["steps"]) == (1, "first", "finished", 6, 6)
    assert "preview_frechet" in row["metrics"]
    assert "first" in distill("runs", lab.project).out


def test_a_run_waits_in_the_queue_while_another_goes_on(distill, lab, live):
    assert distill("run", live, *tiny(lab), "--detach", "--json").json["state"] == "running"
    waits = [distill("run", live, *tiny(lab, "--name", name), "--queue", "--json") for name in ("one", "two")]
    assert [done.json["state"] for done in waits] == ["queued", "queued"]
    assert [row["name"] for row in distill("queue", live, "--json").json["queue"]] == ["one", "two"]
    shown = distill("queue", live).out.splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [["2", "one"], ["3", "two"]]


@pytest.mark.parametrize(
    ("result", "status"), [("Done.", 0), ("steps is 2 and the run is at step 9 already; give at least that.", 2)]
)
def test_a_live_setting_is_changed_and_the_runs_answer_is_told(distill, lab, live, monkeypatch, result, status):
    assert distill("run", live, *tiny(lab), "--detach", "--json").json["state"] == "running"
    asked = []

    def worker(path, run, verb, arguments):
        with ProjectFile.open(path) as opened:
            command = opened.issue(run, verb, arguments)
            opened.finish(command, result)
        asked.append((verb, arguments))
        return command

    monkeypatch.setattr(launch, "ask", worker)
    done = distill("set", live, 1, "steps=2", "preview_every=5", "--json")
    assert (done.status, done.json) == (status, {"run": 1, "result": result})
    assert distill("save", live, 1).status == status
    assert asked == [("set", {"steps": 2, "preview_every": 5}), ("save", None)]


def test_a_run_without_a_process_takes_no_settings(distill, lab):
    done = distill("set", lab.project, "first", "steps=9", "--json")
    assert (done.status, done.json) == (2, {"error": "Run 1 is finished, so there is nothing to set."})


def test_an_empty_queue_says_how_to_fill_it(distill, project):
    assert distill("queue", project, "--json").json == {"queue": []}
    assert "distill run --queue" in distill("queue", project).out


def test_the_log_tells_what_happened_and_what_it_was_read_from(distill, project):
    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        opened.add_event(run, "info", "Goes on.")
        data = {"sign": "past_its_peak", "level": "warning", "reading": "0.4 at step 7."}
        opened.add_event(run, "health", "Quality is past its peak.", step=9, data=data)
    events = distill("log", project, run, "--json").json["events"]
    assert [(event["kind"], event["step"]) for event in events] == [("info", None), ("health", 9)]
    assert events[1]["data"] == data
    first, second = distill("log", project, run).out.splitlines()
    assert first.endswith("info      Goes on.")
    assert second.endswith("step 9      warning   Quality is past its peak. 0.4 at step 7.")


def test_metrics_come_as_json_and_as_csv(distill, lab):
    curves = distill("metrics", lab.project, "first", "--json").json["metrics"]
    assert curves["matching"]["step"] == [1, 2, 3, 4, 5, 6]
    rows = list(csv.reader(distill("metrics", lab.project, "first", "--csv").out.splitlines()))
    assert rows[0] == ["metric", "step", "value"]
    values = [float(value) for name, _, value in rows[1:] if name == "matching"]
    assert values == curves["matching"]["value"]
    assert "matching" in distill("metrics", lab.project, "first").out


def test_a_value_that_is_no_number_is_null(distill, project):
    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        row = MetricRow(step=1, wall=1.0, images=1, nfe=1, values={"loss": float("nan"), "norm": float("inf")})
        opened.record(opened.begin_attempt(run), [row])
    curves = distill("metrics", project, run, "--json").json["metrics"]
    assert curves["loss"] == {"step": [1], "value": [None]}


def test_samples_are_written_one_by_one_and_as_sheets(distill, lab, tmp_path):
    out = tmp_path / "pictures"
    sheets = distill("samples", lab.project, "first", "--out", out, "--json").json["sheets"]
    assert {Path(sheet).name for sheet in sheets} == {
        "teacher-00000000.png",
        "teacher_at_student_nfe-00000000.png",
        *(f"preview-{step:08d}.png" for step in (0, 3, 6)),
        *(f"{view}-{step:08d}.png" for view in VIEWS for step in (1, 3, 6)),
    }
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (338, 134)  # 10 by 4, each 16 pixels enlarged twice, 2 apart
    with Image.open(out / "preview-00000006-039.png") as picture:
        assert picture.size == (16, 16)


def test_evaluate_measures_and_keeps(distill, lab):
    done = distill("evaluate", lab.project, "raw", "--samples", 60, "--nfe", 2, "--json").json
    assert [done[who]["nfe"] for who in ("student", "teacher_at_student_nfe", "teacher")] == [2, 2, 50]
    assert done["student"]["frechet"] > 0
    with ProjectFile.open(lab.project, readonly=True) as opened:
        kept = {row.recipe["of"]: row for row in opened.evaluations(2)}
    assert kept["student"].figures["frechet"] == done["student"]["frechet"]
    assert kept["student"].recipe["count"] == 60
    assert all(row.figures["seconds_per_image"] > 0 for row in kept.values())
    assert kept["teacher"].figures["seconds_per_image"] > 5 * kept["student"].figures["seconds_per_image"]  # 50 : 2


def test_evaluate_measures_what_takes_several_steps_accelerated_too_and_keeps_none_of_it(distill, lab):
    asked = ("evaluate", lab.project, "first", "--samples", 60)
    with ProjectFile.open(lab.project, readonly=True) as opened:
        before = len(opened.evaluations(1))
    done = distill(*asked, "--accelerate", "deepcache:5", "--json").json
    assert "student_accelerated" not in done  # of one step
    assert done["acceleration"] == "DeepCache every 5"
    quick = done["teacher_accelerated"]
    assert (quick["nfe"], quick["plain_rms"] > 0) == (50, True)
    assert "plain_rms" not in done["teacher"]
    with ProjectFile.open(lab.project, readonly=True) as opened:
        kept = opened.evaluations(1)[before:]
    assert {row.recipe["of"] for row in kept} == {"student", "teacher", "teacher_at_student_nfe"}
    every = distill("evaluate", lab.project, "raw", "--samples", 60, "--nfe", 2, "--accelerate", "encoder:1", "--json")
    assert every.json["student_accelerated"]["plain_rms"] == 0
    assert every.json["student_accelerated"]["frechet"] == every.json["student"]["frechet"]
    refused = distill(*asked, "--accelerate", "deepcache:5:9")
    assert (refused.status, "The branch 9 is not in the outermost block" in refused.err) == (2, True)


def test_compare_writes_a_picture(distill, lab, tmp_path):
    out = tmp_path / "new" / "compare.png"
    sides = distill("compare", lab.project, "first", "--out", out, "--json").json["sides"]
    assert [side["name"] for side in sides] == ["Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 50 NFE"]
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_a_diffusers_export_is_verified_and_recorded(distill, lab, tmp_path):
    out = tmp_path / "student"
    done = distill("export", lab.project, "first", "--format", "diffusers", "--out", out, "--json").json
    assert done["max_abs_difference"] < 1e-5
    assert (out / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    with ProjectFile.open(lab.project, readonly=True) as opened:
        record = opened.exports(1)[-1]
    assert (record.path, record.verification["max_abs_difference"]) == (str(out), done["max_abs_difference"])
    sheets = {name: files_folder(lab.project) / place for name, place in record.verification["sheets"].items()}
    assert {name: str(place) for name, place in sheets.items()} == done["sheets"]
    with (
        Image.open(sheets["expected"]) as ours,
        Image.open(sheets["made"]) as theirs,
        Image.open(out / "samples.png") as card,
    ):
        assert ours.size == theirs.size == card.size
        assert ours.tobytes() == card.tobytes()
        assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)) <= 1


def test_a_safetensors_export_of_a_step_is_one_file(distill, lab, tmp_path):
    out = tmp_path / "student.safetensors"
    chosen = ("--format", "safetensors", "--checkpoint", "6", "--out", out)
    done = distill("export", lab.project, "first", *chosen, "--json").json
    assert (done["step"], list(done["files"])) == (6, ["student.safetensors", "student.md"])
    with safe_open(out, "pt") as opened:
        assert opened.metadata()["distill.step"] == "6"
    assert "max_abs_difference" not in done
    assert done["unchecked"].startswith("The file holds the network's weights and no autoencoder, text encoders or")
    card = (tmp_path / "student.md").read_text(encoding="utf-8")
    assert done["unchecked"] in card
    assert done["files"]["student.safetensors"] in card
    with ProjectFile.open(lab.project, readonly=True) as opened_project:
        assert opened_project.exports(1)[-1].verification["unchecked"] == done["unchecked"]


def test_raw_and_averaged_weights_are_both_to_be_had(distill, lab, tmp_path):
    made = {}
    for weights in ("ema", "raw", None):
        out = tmp_path / f"{weights}.safetensors"
        chosen = ("--format", "safetensors", "--out", out, *(("--weights", weights) if weights else ()))
        assert distill("export", lab.project, "first", *chosen, "--json").status == 0
        made[weights] = load_file(out)
    same = {name: all(torch.equal(made[name][key], made[None][key]) for key in made[None]) for name in ("ema", "raw")}
    assert same == {"ema": True, "raw": False}


def test_weights_that_were_not_kept_are_refused(distill, lab, tmp_path):
    chosen = ("--format", "safetensors", "--out", tmp_path / "x.safetensors", "--json")
    done = distill("export", lab.project, "raw", *chosen, "--weights", "ema")
    assert (done.status, "kept no average" in done.json["error"]) == (2, True)
    done = distill("export", lab.project, "raw", *chosen, "--weights", "mean")
    assert done.status == 2
    assert "mean" in done.json["error"]


def test_an_export_that_makes_other_pictures_ends_with_1(distill, lab, tmp_path, monkeypatch):
    from backend.exports import verify

    monkeypatch.setattr(verify, "verify", lambda folder, sheets: verify.Verification(folder, 0.5))
    done = distill("export", lab.project, "first", "--out", tmp_path / "student", "--json")
    assert done.status == 1
    assert "makes other pictures than the preview" in done.json["error"]
    with ProjectFile.open(lab.project, readonly=True) as opened:
        kept = opened.exports(opened.find_run("first").id)[-1].verification
    assert kept["max_abs_difference"] == 0.5
    assert kept["problem"] == done.json["error"]
    assert kept["sheets"] == {}


def test_check_finds_nothing_in_a_whole_project_and_what_is_missing(distill, lab, project):
    assert distill("check", lab.project, "--json").json == {"problems": []}
    assert distill("check", lab.project).out == "nothing is wrong\n"
    weights = project.with_suffix(".files") / "checkpoints" / "one.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        opened.add_checkpoint(opened.begin_attempt(run), 1, weights)
    weights.unlink()
    found = distill("check", project, "--json")
    assert found.status == 1
    assert found.json["problems"] == [
        "The checkpoint of step 1, checkpoints/one.safetensors, is missing from lab.files; put it back from a copy."
    ]
