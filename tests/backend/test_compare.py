"""Teacher and students from the same noise."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backend import compare, judge, students
from backend.acceleration import Acceleration
from backend.assembly import Student
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.methods import load_method
from backend.samplers import Sampler
from backend.teachers import load_teacher

from .teachers import tiny


def untrained(where: str, prompts: Sequence[str] | None = None) -> Student:
    """A student that is its teacher."""
    teacher, method = load_teacher(where, prompts=prompts), load_method("dmd2")
    recipe = Recipe.from_values({"teacher": where, "method": "dmd2"})
    return Student(teacher.denoiser, Sampler("renoise", (1.0,)), teacher, method, method.settings(), recipe, 1, 0)


def test_a_student_that_is_its_teacher_makes_its_pictures(lab):
    few, student, full = compare.sides([("Student", untrained(str(lab.teacher)))], teacher_nfe=3)
    assert [side.name for side in (few, student, full)] == ["Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 3 NFE"]
    assert [side.nfe for side in (few, student, full)] == [1, 1, 3]
    assert few.image.tobytes() == student.image.tobytes() != full.image.tobytes()
    assert few.image.size == (338, 134)
    assert min(side.seconds for side in (few, student, full)) > 0
    assert [(side.run, side.step) for side in (few, student, full)] == [(None, None), (1, 0), (None, None)]


def drawn_as_named(student: Student, named: list[str]) -> torch.Tensor:
    """What a student makes of the conditions of these names."""
    teacher = student.teacher
    names = teacher.prompts or teacher.labels
    cond = teacher.condition_of(torch.tensor([names.index(name) for name in named]))
    return judge.draw(student.denoiser, student.sampler, teacher, cond, judge.PREVIEW_SEED)


def test_each_picture_is_of_the_class_or_prompt_that_is_named_at_its_place(lab, tiny_model):
    for where, kind, names in (
        (str(lab.teacher), "class", [*map(str, range(10))]),
        (str(tiny_model("sd")), "prompt", list(tiny.PROMPTS)),
    ):
        student = untrained(where, tiny.PROMPTS if kind == "prompt" else None)
        found = compare.conditions(student.teacher)
        assert found == {"kind": kind, "names": [names[i % len(names)] for i in range(40)]}
        side = compare.sides([("Student", student)], teacher_nfe=1)[1]
        assert torch.equal(side.samples, drawn_as_named(student, found["names"]))
        assert not torch.equal(side.samples, drawn_as_named(student, found["names"][1:] + found["names"][:1]))


def test_only_what_is_asked_for_is_shown_each_from_several_noises(lab, tiny_model):
    for where, only in ((str(lab.teacher), ["7", "2"]), (str(tiny_model("sd")), ["a red fish", "a boat"])):
        student = untrained(where, only)
        found = compare.conditions(student.teacher, only)
        assert found is not None
        assert found["names"] == 20 * [only[0]] + 20 * [only[1]]
        side, full = compare.sides([("Student", student)], teacher_nfe=2, only=only)[1:]
        assert torch.equal(side.samples, drawn_as_named(student, found["names"]))
        assert not torch.equal(full.samples[0], full.samples[1])


def test_a_class_that_a_teacher_does_not_have_and_more_than_there_is_room_for_are_refused(lab):
    digits = load_teacher(str(lab.teacher))
    with pytest.raises(UserError, match=r"^There is no class 11; did you mean 1\?$"):
        compare.places(digits, ["11"])
    with pytest.raises(UserError, match=r"^41 are to be shown, and a comparison has 40 pictures; leave some out\.$"):
        compare.places(digits, ["3"] * 41)
    with pytest.raises(UserError, match=r"takes neither classes nor prompts; leave 3 out\.$"):
        compare.places(load_teacher("mixture-2d"), ["3"])


def test_points_and_pictures_without_conditions_have_no_names(lab):
    assert compare.conditions(load_teacher("mixture-2d")) is None
    assert compare.conditions(replace(load_teacher(str(lab.teacher)), labels=())) is None


def test_vectors_are_compared_as_clouds():
    before = torch.get_rng_state()
    sides = compare.sides([("Student", untrained("mixture-2d"))], teacher_nfe=2, seed=judge.PREVIEW_SEED)
    assert {side.image.size for side in sides} == {(256, 256)}
    assert compare.sheet(sides).size == (3 * 256 + 4 * 16, 256 + 24 + 2 * 16)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_teacher_is_shown_at_each_number_of_evaluations_that_a_student_has():
    one = untrained("mixture-2d")
    two = replace(one, sampler=Sampler("renoise", (1.0, 0.5)))
    said: list[str] = []
    sides = compare.sides([("a", one), ("b", two), ("c", one)], teacher_nfe=4, report=said.append)
    assert [side.name for side in sides] == [
        *("Teacher, 1 NFE", "Teacher, 2 NFE", "a, 1 NFE", "b, 2 NFE", "c, 1 NFE", "Teacher, 4 NFE"),
    ]
    assert said[0] == "1 of 6: Teacher, 1 NFE"
    assert said[-1] == "6 of 6: Teacher, 4 NFE"


def test_it_is_said_how_long_the_rest_takes(monkeypatch):
    ticks = iter(range(0, 1000, 8))
    monkeypatch.setattr("backend.progress.time.monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(compare, "_drawn", lambda *_: (1.0, torch.zeros(1, 2)))
    said: list[str] = []
    compare.sides([("Student", untrained("mixture-2d"))], teacher_nfe=38, report=said.append)
    # The clock ticks when the work begins and with each line: 16 s after 1 evaluation of 40, and 24 s after 2.
    assert said == [
        *("1 of 3: Teacher, 1 NFE", "2 of 3: Student, 1 NFE, about 10 min left"),
        "3 of 3: Teacher, 38 NFE, about 8 min left",
    ]


def test_a_slow_side_is_drawn_once(monkeypatch):
    seen: list[int] = []
    draw = judge.draw

    def counted(*asked: Any) -> torch.Tensor:
        seen.append(1)
        return draw(*asked)

    monkeypatch.setattr(judge, "draw", counted)
    monkeypatch.setattr(compare, "SLOW_SECONDS", 0.0)
    compare.sides([("Student", untrained("mixture-2d"))], teacher_nfe=1)
    assert len(seen) == 3


def test_students_of_other_samples_or_classes_are_refused():
    one = untrained("mixture-2d")
    wide = replace(one.teacher, denoiser=untrained("digits").denoiser)
    with pytest.raises(UserError, match="b has samples of shape 1x16x16 and a of 2, so they cannot have the same"):
        compare.sides([("a", one), ("b", replace(one, teacher=wide))], teacher_nfe=1)
    named = replace(one.teacher, labels=("left", "right"))
    with pytest.raises(UserError, match="b has 2 classes and a 0"):
        compare.sides([("a", one), ("b", replace(one, teacher=named))], teacher_nfe=1)


def test_distances_are_0_to_itself_and_1_from_black_to_white():
    black, white = torch.full((2, 1, 4, 4), -1.0), torch.ones(2, 1, 4, 4)
    assert compare.distances(black, white) == [1, 1]
    assert compare.distances(white, white) == [0, 0]
    assert compare.distances(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 4.0], [1.0, 1.0]])) == [5, 0]


def test_parts_are_the_pictures_of_each_side_and_what_is_said_of_them(distill, lab, tmp_path):
    parts = tmp_path / "new" / "parts"
    asked = ("compare", lab.project, "first@4", "raw", "--parts", parts, "--seed", 3, "--teacher-nfe", 2, "--json")
    done = distill(*asked)
    index = json.loads((parts / "index.json").read_text())
    sides = index["sides"]
    assert [(side["name"], side["run"], side["step"], side["nfe"]) for side in sides] == [
        ("Teacher, 1 NFE", None, None, 1),
        ("first at 4, 1 NFE", 1, 4, 1),
        ("raw at 2, 1 NFE", 2, 2, 1),
        ("Teacher, 2 NFE", None, None, 2),
    ]
    assert done.json["sides"] == [{k: v for k, v in s.items() if k not in ("files", "distances")} for s in sides]
    assert "4 of 4: Teacher, 2 NFE" in done.err
    assert (index["kind"], index["seed"], index["density"]) == ("pictures", 3, None)
    assert index["conditions"]["kind"] == "class"
    assert index["conditions"]["names"] == 4 * [*map(str, range(10))]
    assert (done.json["conditions"], done.json["columns"]) == (index["conditions"], index["columns"])
    assert sides[-1]["speed_up"] == 1
    assert sides[-1]["distance"] == 0 < sides[1]["distance"] < 1
    assert sides[1]["distance"] == pytest.approx(sum(sides[1]["distances"]) / 40)
    pixels = [np.asarray(Image.open(parts / side["files"][12])).astype(float) for side in sides]
    assert abs(pixels[1] - pixels[3]).mean() / 255 == pytest.approx(sides[1]["distances"][12])
    assert len({side["files"][0] for side in sides}) == 4
    assert all(len(side["files"]) == 40 for side in sides)


def test_the_command_line_shows_one_class_alone(distill, lab, tmp_path):
    parts = tmp_path / "parts"
    done = distill("compare", lab.project, "first", "--parts", parts, "--teacher-nfe", 2, "--only", " 4 ", "--json")
    assert done.json["conditions"]["names"] == ["4"] * 40
    assert json.loads((parts / "index.json").read_text())["conditions"] == done.json["conditions"]


def test_parts_of_a_plane_are_points_over_the_exact_density(tmp_path):
    student = untrained("mixture-2d")
    compare.write_parts(compare.sides([("Student", student)], teacher_nfe=2), student.teacher, 7, tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    points = np.load(tmp_path / index["sides"][1]["files"][0])
    assert (points.shape, points.dtype) == ((4000, 2), np.float32)
    density = np.load(tmp_path / index["density"]["file"])
    left, right, bottom, top = index["density"]["extent"]
    cell = (right - left) / density.shape[1] * (top - bottom) / density.shape[0]
    assert density.sum() * cell == pytest.approx(1, abs=1e-3)
    row, column = np.unravel_index(density.argmax(), density.shape)
    x = left + (column + 0.5) / density.shape[1] * (right - left)
    y = bottom + (row + 0.5) / density.shape[0] * (top - bottom)
    assert (x, y) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02))  # the heaviest of the ring


def test_parts_that_were_not_finished_have_no_index(tmp_path, monkeypatch):
    student = untrained("mixture-2d")
    sides = compare.sides([("Student", student)], teacher_nfe=1)
    compare.write_parts(sides, student.teacher, 7, tmp_path)
    monkeypatch.setattr(compare, "_write_points", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        compare.write_parts(sides, student.teacher, 7, tmp_path)
    assert not (tmp_path / "index.json").exists()


def test_what_cannot_be_compared_is_refused_in_a_sentence(distill, lab, tmp_path):
    def said(*arguments: object) -> str:
        done = distill("compare", lab.project, "first", *arguments, "--json")
        assert done.status == 2
        return str(done.json["error"])

    assert said() == "Name a picture to write with --out, or a folder with --parts."
    assert said("--parts", tmp_path, "--teacher-nfe", 0).startswith("0 network evaluations are not possible")
    assert said("--parts", tmp_path, "--seed", -1).startswith("The seed -1 is not possible")
    assert said("--parts", tmp_path, "--only", " ").startswith("One of the prompts or classes to show is empty")
    (tmp_path / "file").write_text("")
    assert said("--parts", tmp_path / "file").endswith("file is a file; name a folder for the parts.")
    assert "has no checkpoint 5" in distill("compare", lab.project, "first@5", "--parts", tmp_path).err


def test_a_run_is_named_with_its_checkpoint(lab):
    assert students.find_student(lab.project, "first@4") == (1, "4")
    assert students.find_student(lab.project, "2@last") == (2, "last")
    assert students.find_student(lab.project, "raw", "last") == (2, "last")


def test_other_kinds_are_refused_before_any_student_is_loaded(distill, tmp_path):
    with ProjectFile.create(tmp_path / "two.distill") as project:
        for where in ("mixture-2d", "digits"):
            run = project.add_run(Recipe.from_values({"teacher": where, "method": "dmd2"}), name=where)
            place = project.files / f"{run}.safetensors"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"no weights at all")
            project.add_checkpoint(project.begin_attempt(run), 1, place)
    done = distill("compare", tmp_path / "two.distill", 1, 2, "--parts", tmp_path / "parts")
    assert done.status == 2
    assert done.err == (
        "digits has samples of shape 1x16x16 and mixture-2d of 2, so they cannot have the same noise and conditions; "
        "compare runs of one teacher.\n"
    )
    assert not (tmp_path / "parts").exists()


def test_what_cannot_be_accelerated_so_is_refused_before_anything_is_drawn(lab):
    student, said = untrained(str(lab.teacher)), list[str]()
    with pytest.raises(UserError, match="The branch 9 is not in the outermost block"):
        compare.sides([("Student", student)], 4, report=said.append, accelerations=[Acceleration("deepcache", 3, 9)])
    assert not said


def test_a_repeat_is_of_what_draws_no_noise_anew(lab):
    student = replace(untrained(str(lab.teacher)), sampler=Sampler("renoise", (1.0, 0.5)))
    straight = replace(student, sampler=Sampler("deterministic", (1.0, 0.5)))
    shown = compare.sides([("A", student), ("B", straight)], 4, accelerations=[Acceleration("repeat", 2)])
    quick = [side.name for side in shown if side.plain]
    assert quick == ["B, 2 NFE, Last noise again, new every 2", "Teacher, 4 NFE, Last noise again, new every 2"]
    assert not Acceleration("repeat", 2).suits(student.sampler)
    assert Acceleration("encoder", 2).suits(student.sampler)
    assert not Acceleration("encoder", 2).suits(Sampler("renoise", (1.0,)))


def test_what_takes_several_steps_is_shown_accelerated_too(lab):
    student = replace(untrained(str(lab.teacher)), sampler=Sampler("renoise", (1.0, 0.5)))
    shown = compare.sides([("Student", student)], 4, accelerations=[Acceleration("encoder", 2)])
    assert [side.name for side in shown] == [
        "Teacher, 2 NFE",
        "Student, 2 NFE",
        "Student, 2 NFE, Faster Diffusion every 2",
        "Teacher, 4 NFE, Faster Diffusion every 2",
        "Teacher, 4 NFE",
    ]
    assert not torch.equal(shown[3].samples, shown[4].samples)
    plain = [side.plain and side.plain.name for side in shown]
    assert plain == [None, None, "Student, 2 NFE", "Teacher, 4 NFE", None]
    rows = compare.describe(shown)
    assert [row["distance_from"] for row in rows] == ["teacher", "teacher", "plain", "plain", "teacher"]
    assert rows[2]["distance"] == pytest.approx(np.mean(compare.distances(shown[2].samples, shown[1].samples)))
    assert rows[1]["distance"] == pytest.approx(np.mean(compare.distances(shown[1].samples, shown[4].samples)))
