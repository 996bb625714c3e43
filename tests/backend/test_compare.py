"""Teacher and student from the same noise."""

import torch

from backend import compare, judge
from backend.assembly import Student
from backend.contract.recipe import Recipe
from backend.methods import load_method
from backend.samplers import Sampler
from backend.teachers import load_teacher


def untrained(where: str) -> Student:
    """A student that is its teacher."""
    teacher, method = load_teacher(where), load_method("dmd2")
    recipe = Recipe.from_values({"teacher": where, "method": "dmd2"})
    return Student(teacher.denoiser, Sampler("renoise", (1.0,)), teacher, method, method.settings(), recipe, 1, 0)


def test_a_student_that_is_its_teacher_makes_its_pictures(lab):
    few, student, full = compare.sides(untrained(str(lab.teacher)), teacher_nfe=3)
    assert [side.name for side in (few, student, full)] == ["Teacher, 1 NFE", "Student, 1 NFE", "Teacher, 3 NFE"]
    assert [side.nfe for side in (few, student, full)] == [1, 1, 3]
    assert few.image.tobytes() == student.image.tobytes() != full.image.tobytes()
    assert few.image.size == (320, 128)
    assert min(side.seconds for side in (few, student, full)) > 0


def test_vectors_are_compared_as_clouds():
    before = torch.get_rng_state()
    sides = compare.sides(untrained("mixture-2d"), teacher_nfe=2, seed=judge.PREVIEW_SEED)
    assert {side.image.size for side in sides} == {(256, 256)}
    assert compare.sheet(sides).size == (3 * 256 + 4 * 16, 256 + 24 + 2 * 16)
    assert torch.equal(torch.get_rng_state(), before)
