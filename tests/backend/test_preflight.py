"""What preflight promises of a run, against the run itself."""

import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backend import checkpoints, derivatives, judge, preflight, studio
from backend.assembly import assemble, method_of, start_run
from backend.contract.checked import Finding, Preflight
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, RecipeError
from backend.datasets import ImageSet, latents
from backend.methods import load_method, method_names
from backend.teachers import load_teacher
from backend.train import NotFiniteError, train

MEBIBYTE = 2**20


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


def look(asked: dict[str, Any], project: Path, dry_run: bool = True) -> Preflight:
    return preflight.preflight(Recipe.from_values(asked), project, dry_run)


@pytest.mark.parametrize("method", method_names())
def test_cost_and_disk_are_the_runs_own(method, lab, project, tmp_path):
    # Of heads that were never asked the optimizer holds nothing yet: so many steps that all have been.
    steps, settings = (20, {"pool_size": 48, "active_heads": 12}) if method == "nitrofusion" else (2, {})
    asked = {**lab.recipe(method, steps=steps, checkpoint_every=0, preview_every=0), "settings": settings}
    asked |= {"pairs": {"count": 5, "steps": 3}}
    found = look(asked, project, dry_run=False)
    card = load_method(method)
    assert found.evaluations_per_step == card.cost(card.settings())
    pairs = 5 * (2 * 3 - 1) if "pairs" in card.needs(card.settings()) else 0
    assert found.evaluations == steps * 2 * found.evaluations_per_step + pairs
    run = start_run(Recipe.from_values(asked))
    assert [progress.step for progress in train(run)] == list(range(1, steps + 1))
    checkpoints.save(run, tmp_path / "state.safetensors")
    assert found.disk == pytest.approx((tmp_path / "state.safetensors").stat().st_size, rel=0.2)


@pytest.mark.parametrize(
    ("steps", "checkpoint_every", "preview_every", "keep", "left"),
    [
        (100, 0, 0, 3, 1),  # the last alone
        (100, 50, 0, 3, 2),
        (100, 30, 0, 3, 3),  # 60, 90, 100
        (100, 30, 10, 3, 4),  # and the best preview's
        (100, 30, 100, 3, 3),  # whose only preview is the last step's
        (20, 0, 10, 3, 2),
    ],
)
def test_disk_counts_the_checkpoints_that_stay(lab, project, steps, checkpoint_every, preview_every, keep, left):
    times = {"steps": steps, "checkpoint_every": checkpoint_every, "preview_every": preview_every}
    one = look(lab.recipe(steps=1, checkpoint_every=0), project, dry_run=False).disk
    assert look(lab.recipe(**times, keep_checkpoints=keep), project, dry_run=False).disk == left * one


def test_what_a_finished_run_left_is_no_more_than_was_said(lab):
    said = look(lab.recipe(), lab.project, dry_run=False).disk
    with ProjectFile.open(lab.project, readonly=True) as opened:
        left = sum(checkpoint.bytes for checkpoint in opened.checkpoints(1))
    assert 0.6 * said < left < 1.2 * said


def test_a_dry_run_measures_and_leaves_no_trace(lab, project, monkeypatch):
    """By a clock that says when the first step begins, when each has ended, and when the next begins."""
    looks = iter([0.0, 9.0, 10.0, 14.0, 15.0, 22.0, 23.0])
    monkeypatch.setattr(preflight, "time", SimpleNamespace(perf_counter=lambda: next(looks)))
    monkeypatch.setattr(preflight, "peak_bytes", lambda: 300 * MEBIBYTE)
    before = project.read_bytes()
    threads = torch.get_num_threads()
    found = look(lab.recipe(steps=1000, threads=1), project)
    assert found.ok
    assert found.seconds == 4000  # of the three steps the first is slow to get going, and no step is faster than it can
    assert found.memory == 300 * MEBIBYTE  # what that is worth is seen beside a run's own: test_footprints
    assert project.read_bytes() == before
    assert not project.with_suffix(".files").exists()
    assert torch.get_num_threads() == threads


def test_a_dry_run_draws_as_many_as_any_preview(lab, project, monkeypatch):
    drawn, draw = [], judge.draw

    def seen(net, sampler, teacher, cond, *rest):
        drawn.append((len(cond), sampler.nfe))
        return draw(net, sampler, teacher, cond, *rest)

    monkeypatch.setattr(judge, "draw", seen)
    assert look(lab.recipe(batch_size=2), project).ok
    scored = [(judge.BATCH, 1)] * (judge.SCORED_SAMPLES // judge.BATCH)
    assert drawn == [*scored, (judge.PREVIEW_SAMPLES, 1), (judge.PREVIEW_SAMPLES, 1)]


def test_pairs_and_latents_that_a_dry_run_leaves_out_are_counted(lab, monkeypatch):
    asked = {**lab.recipe("knowledge", steps=1), "pairs": {"count": 10, "steps": 2}}
    run = start_run(Recipe.from_values(asked))
    more = Recipe.from_values({**asked, "pairs": {"count": 110, "steps": 2}})
    numbers = 2 * math.prod(run.student.shape)  # noise and sample, of float32, beside an int64 label
    assert preflight._of_data_to_come(more, run) == 100 * (4 * numbers + 8)
    run.pairs = None
    stored = torch.zeros(4, 4, 16, 16)
    run.data = ImageSet(stored, torch.zeros(4).long(), (), "", "", encoded=True)
    monkeypatch.setattr(latents, "source_of", lambda *where: nullcontext(range(1004)))
    assert preflight._of_data_to_come(more, run) == 1000 * 4 * 16 * 16 * 4


def test_a_start_near_pure_noise_warns_for_epsilon_alone(tiny_teacher, project):
    teacher = str(tiny_teacher("digits-eps"))
    asked = {"teacher": teacher, "method": "dmd2"}
    (found,) = look({**asked, "settings": {"first_level": 1}}, project, dry_run=False).warnings
    assert found.field == "settings.first_level"
    assert found.words.startswith("The teacher predicts epsilon and the student starts where alpha is 0.0064")
    assert "set first_level to 0, which starts it at 0." in found.words
    assert look(asked, project, dry_run=False).warnings == []
    by_v = {**asked, "method": "progressive", "settings": {"first_level": 1, "conversion_share": 0.25}}
    assert look(by_v, project, dry_run=False).warnings == []


@pytest.mark.parametrize("method", ["scm", "meanflow", "rcm"])
def test_where_a_network_takes_no_forward_derivative_differences_are_offered(project, method, monkeypatch):
    monkeypatch.setattr(derivatives, "can_be_differentiated", lambda *given: False)
    asked = {"teacher": "mixture-2d", "method": method}
    (found,) = look(asked, project, dry_run=False).problems
    assert found.words == "This teacher's network has no exact forward derivative; set derivative to differences."
    assert look({**asked, "settings": {"derivative": "differences"}}, project, dry_run=False).problems == []


def test_a_guided_teacher_is_not_learnt_from_without_guidance_in_silence(project):
    asked = {"teacher": "emoji", "method": "dmd2"}
    (found,) = look(asked, project, dry_run=False).warnings
    assert found == Finding(
        "settings.guidance_scale",
        "The teacher is meant to be sampled under guidance 2, and the student would learn from it without; "
        "set guidance_scale to 2.",
    )
    assert look({**asked, "settings": {"guidance_scale": 2}}, project, dry_run=False).warnings == []


@pytest.mark.parametrize(
    ("method", "settings", "wanted"),
    [
        ("adm", {}, "a run of adversarial pre-training"),
        ("adm", {"student_steps": 4, "discriminator_updates": 2}, "a run of adversarial pre-training"),
        ("adm", {"student_steps": 4}, None),
        ("tcm", {}, "a run of consistency distillation"),
        ("tcm", {"teacher_steps": 8}, None),
        ("nitrofusion", {"teacher_steps": 2}, "a one-step student of another method"),
        ("reflow", {"distilled_share": 1.0}, "a straightened student, with pairs.source start"),
        ("reflow", {}, None),
    ],
)
def test_a_method_that_goes_on_from_another_run_does_not_start_from_the_teacher_in_silence(
    project, method, settings, wanted
):
    asked = {"teacher": "mixture-2d", "method": method, "settings": settings}
    warnings = look(asked, project, dry_run=False).warnings
    said = [one for one in warnings if "is meant to start from" in one.words]
    assert [one.field for one in said] == ["student.start"] * (wanted is not None)
    words = f"is meant to start from {wanted}, and this run would start from the teacher"
    assert wanted is None or words in said[0].words


@pytest.mark.parametrize(
    ("first", "then", "scales"),
    [
        (("dmd2", {"guidance_scale": 2.0}), ("dmd2", {}), ("2", "1")),
        (("dmd2", {}), ("sid", {"guidance_scale": 1.5}), ("1", "1.5")),
        (("dmd2", {"guidance_scale": 2}), ("sid", {"guidance_scale": 2.0}), None),
        (("gdd", {}), ("dmd2", {"guidance_scale": 2.0}), None),  # has no such setting
        (("dmd2", {"guidance_scale": 2.0}), ("gdd", {}), None),
        (("guidance", {"guidance_scale": 2.0}), ("dmd2", {}), None),  # is told its guidance, and has learnt a range
        (("dmd2", {"guidance_scale": 2.0}), ("guidance", {}), None),
        (("dmd2", {"guidance_scale": 2.0}), ("reflow", {}), ("2", "1")),
        (("dmd2", {"guidance_scale": 2.0}), ("reflow", {"pairs": "start"}), None),  # guides nothing
    ],
)
def test_a_student_of_another_guidance_is_not_gone_on_with_in_silence(project, first, then, scales):
    pairs = {"source": then[1].get("pairs", "teacher")}
    settings = {name: value for name, value in then[1].items() if name != "pairs"}
    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": first[0], "settings": first[1]}))
    asked = {"teacher": "digits", "method": then[0], "settings": settings, "pairs": pairs}
    asked["data"] = "digits" if then[0] == "gdd" else None
    warnings = look({**asked, "student": {"start": f"run:{run}@last"}}, project, dry_run=False).warnings
    said = [one for one in warnings if "guidance" in one.words]
    if scales is None:
        assert said == []
    else:
        before, now = scales
        words = (
            f"Run {run}, whose student this one starts from, was distilled under guidance {before}, and this run would "
            f"go on under {now}; set guidance_scale to {before}, or start from a run under {now}."
        )
        assert said == [Finding("settings.guidance_scale", words)]
    assert not any("guidance" in one.words for one in look(asked, project, dry_run=False).warnings)


def test_a_start_that_there_is_not_is_a_problem_and_no_fault(project):
    found = look({"teacher": "digits", "method": "dmd2", "student": {"start": "run:9@best"}}, project, dry_run=False)
    assert [one.field for one in found.problems] == ["student.start"]
    assert found.warnings == []


def test_data_that_is_not_used_is_named(lab, project):
    asked = {**lab.recipe(), "data": "digits"}
    (found,) = look(asked, project, dry_run=False).warnings
    assert found == Finding("data", "The data digits is not used: the method needs none with these settings.")
    assert look({**asked, "settings": {"gan_weight": 0.1}}, project, dry_run=False).warnings == []


def test_pictures_that_are_left_out_are_counted(lab, project, tmp_path):
    from PIL import Image

    for name in "0123456789":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("L", (16, 16), 20 * int(name)).save(tmp_path / "pictures" / name / "one.png")
    (tmp_path / "pictures" / "0" / "two.png").write_bytes(b"broken")
    asked = {**lab.recipe("gdd"), "data": str(tmp_path / "pictures")}
    (found,) = look(asked, project, dry_run=False).warnings
    assert found == Finding("data", f"Of {tmp_path / 'pictures'}, left out 1 of 11 files: 1 broken.")


@pytest.mark.parametrize(
    ("error", "field", "said"),
    [
        (NotFiniteError("It was not finite."), "settings.learning_rate", "It was not finite. Lower the learning rate"),
        (torch.OutOfMemoryError(), "training.batch_size", "The device is out of memory (the machine has "),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "training.batch_size",
            "The device is out of memory (the machine has ",
        ),
    ],
)
def test_a_dry_run_that_fails_is_a_problem(lab, project, monkeypatch, error, field, said):
    def fail(run):
        raise error

    monkeypatch.setattr(preflight, "train", fail)
    (found,) = look(lab.recipe(), project).problems
    assert found.field == field
    assert found.words.startswith(said)


def pictures(folder: Path, *names: str) -> str:
    """A folder of one picture in each of these classes."""
    from PIL import Image

    for name in names:
        (folder / name).mkdir(parents=True)
        Image.new("L", (16, 16), 9).save(folder / name / "one.png")
    folder.mkdir(exist_ok=True)
    return str(folder)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("teacher", {"teacher": "digts"}),
        ("method", {"method": "dmd3"}),
        ("settings.gan_weight", {"settings": {"gan_weight": 7}}),
        ("settings.student_step", {"settings": {"student_step": 1}}),
        ("settings", {"method": "lcm", "settings": {"guidance_scale": 9, "guidance_low": 1, "guidance_high": 2}}),
        ("settings", {"method": "msd", "teacher": "mixture-2d"}),
        ("settings", {"method": "gdd", "teacher": "mixture-2d", "settings": {"frozen": "block convolutions"}}),
        ("settings.guidance_scale", {"teacher": "mixture-2d", "settings": {"guidance_scale": 2}}),
        ("teacher", {"teacher": "mixture-2d", "method": "guidance"}),
        ("data", {"method": "gdd", "data": "nothing"}),
        ("data", {"method": "gdd", "data": "strange"}),
        ("data", {"method": "gdd", "data": "away"}),
        ("prompts", {"teacher": "emoji", "prompts": "away.txt"}),
        ("data", {"method": "gdd", "teacher": "emoji", "data": "plain"}),
        ("student.rank", {"student": {"kind": "lora", "rank": 512}}),
        ("student.start", {"student": {"start": "run:99@best"}}),
        ("pairs.source", {"method": "knowledge", "pairs": {"source": "start", "count": 2}}),
        ("training.accumulation", {"method": "f_distill", "training": {"accumulation": 2}}),
        ("training.gradient_checkpointing", {"teacher": "mixture-2d", "training": {"gradient_checkpointing": True}}),
    ],
)
def test_each_problem_names_the_value_in_which_it_is_mended(project, tmp_path, monkeypatch, field, change):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "nothing")
    pictures(tmp_path / "strange", "cats")
    pictures(tmp_path / "plain", ".")
    found = look({"teacher": "digits", "method": "dmd2", **change}, project, dry_run=False)
    assert [one.field for one in found.problems] == [field]


def test_what_a_device_cannot_do_is_said_of_the_precision(lab):
    asked = Recipe.from_values({**lab.recipe(precision="bfloat16")})
    method, settings = method_of(asked)
    with pytest.raises(RecipeError, match="does not compute in bfloat16") as refused:
        assemble(asked, method, settings, load_teacher("digits"), None, torch.device("mps"), None)
    assert refused.value.field == "training.precision"


def test_as_json_the_sentences_stand_alone_and_with_their_fields():
    found = Preflight([Finding("data", "No picture.")], [Finding("settings.gan_weight", "It is much.")]).to_json()
    assert (found["ok"], found["problems"], found["warnings"]) == (False, ["No picture."], ["It is much."])
    assert found["findings"] == [
        {"kind": "problem", "field": "data", "words": "No picture."},
        {"kind": "warning", "field": "settings.gan_weight", "words": "It is much."},
    ]


def test_a_fault_of_the_program_is_not_taken_for_a_problem(lab, project, monkeypatch):
    def fail(run):
        raise RuntimeError("a fault")

    monkeypatch.setattr(preflight, "train", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        look(lab.recipe(), project)


def test_too_full_a_disk_is_a_problem(lab, project, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    (found,) = look(lab.recipe(), project).problems
    assert found.field == "training.keep_checkpoints"
    assert found.words.startswith("The disk has too little room for the checkpoints,")


def test_other_kinds_of_run_are_refused(lab, project):
    (found,) = look({**lab.recipe(), "kind": "tensors"}, project).problems
    assert found == Finding("kind", "This version makes runs of kind train alone, not tensors; change kind.")


def test_a_lack_of_memory_comes_with_what_would_help(lab, project, monkeypatch):
    monkeypatch.setattr(preflight, "memory_of", lambda device: 2**20)
    peaks = preflight.Peaks(resident=400 * MEBIBYTE, training=600 * MEBIBYTE, whole=600 * MEBIBYTE)
    monkeypatch.setattr(preflight, "_try", lambda run, report: (1.0, peaks))
    asked = {**lab.recipe(batch_size=4), "settings": {"student_steps": 4, "gan_weight": 0.1}}
    found = look(asked, project)
    assert found.ok
    (warned,) = (one for one in found.warnings if one.field == "training.batch_size")
    assert "of memory and this machine has 0.0 GiB; make it smaller" in warned.words
    # All is activations beside the tiny networks of this teacher; none fits in a mebibyte, so the least batch is it.
    assert [suggestion.change for suggestion in found.suggestions][:5] == [
        {"training.batch_size": 1, "training.accumulation": 4},
        {"training.gradient_checkpointing": True},
        {"training.batch_size": 2},
        {"settings.gan_weight": 0.0},
        {"settings.student_steps": 1},
    ]
    assert [suggestion.memory // (50 * MEBIBYTE) for suggestion in found.suggestions[:4]] == [9, 9, 10, 10]
    assert found.to_json()["suggestions"][1]["change"] == {"training.gradient_checkpointing": True}


def test_running_out_of_memory_comes_with_what_would_help(lab, project, monkeypatch):
    def fail(run, report):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(preflight, "_try", fail)
    found = look(lab.recipe(batch_size=64), project)
    assert not found.ok
    changes = [suggestion.change for suggestion in found.suggestions]
    assert changes[0] == {"training.batch_size": 8, "training.accumulation": 8}
    assert {"training.batch_size": 16} in changes
    assert {suggestion.memory for suggestion in found.suggestions} == {0}  # nothing was measured
    assert "what would help, the most first: take 8 batches of 8 for a step" in found.problems[0].words


def test_a_long_run_is_shortened_by_what_costs_most(lab, project, monkeypatch):
    monkeypatch.setattr(preflight, "_try", lambda run, report: (60 * 3600.0, preflight.Peaks(0, 0, 0)))
    asked = {**lab.recipe(steps=1000), "settings": {"student_steps": 2, "guidance_scale": 2.0}}
    found = look(asked, project)
    words = "The run takes about 60 hours on this machine; make it shorter, or let it run on."
    assert Finding("training.steps", words) in found.warnings
    assert list(found.suggestions[0].change.items()) == [("training.steps", 100)]
    assert [suggestion.left for suggestion in found.suggestions] == sorted(s.left for s in found.suggestions)
    for suggestion in found.suggestions:  # each of them is a recipe that can be asked for
        for name, value in suggestion.change.items():
            part, key = name.split(".")
            changed = {**asked, part: {**asked[part], key: value}}
            assert Recipe.from_values(changed)
    method = load_method("dmd2")
    s = method.settings.model_validate(asked["settings"])
    shorter = next(s for s in found.suggestions if "settings.guidance_scale" in s.change)
    assert shorter.left == method.cost(s.model_copy(update={"guidance_scale": 1.0})) / method.cost(s)


def test_a_full_disk_comes_with_what_would_help(lab, project, monkeypatch):
    usage = shutil.disk_usage(project.parent)._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = look(lab.recipe(steps=100, checkpoint_every=10, preview_every=20, keep_checkpoints=3), project)
    assert [suggestion.change.get("training.checkpoint_every") for suggestion in found.suggestions] == [0, None]
    assert look(lab.recipe(steps=1, checkpoint_every=0, preview_every=0), project).suggestions == []
