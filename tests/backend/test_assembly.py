"""From words to objects: what a recipe's names become, and what a run starts from."""

from dataclasses import replace

import pytest
import torch

from backend import assembly, methods
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, RecipeError
from backend.datasets import DataError, ImageSet
from backend.samplers import Sampler
from backend.teachers import load_teacher


@pytest.fixture(scope="module")
def teacher(lab):
    return load_teacher(str(lab.teacher))


def recipe(lab, **changes):
    return Recipe.from_values({**lab.recipe(), **changes})


def test_a_method_that_does_not_load_is_named(monkeypatch):
    def broken(name):
        raise SyntaxError("invalid syntax")

    monkeypatch.setattr(assembly, "load_method", broken)
    with pytest.raises(RecipeError, match=r"The method dmd2 does not load \(SyntaxError: invalid syntax\); mend"):
        assembly.find_method("dmd2")


def test_real_data_is_read_only_where_it_is_needed(lab, teacher):
    method = methods.load_method("dmd2")
    nowhere = recipe(lab, data="nowhere")
    assert assembly.data_of(nowhere, method, method.settings(), teacher) is None
    with pytest.raises(DataError, match="There is no folder or zip nowhere"):
        assembly.data_of(nowhere, method, method.settings(gan_weight=0.1), teacher)


def test_classes_are_matched_by_name(lab, teacher, monkeypatch):
    images = torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 1, 16, 16)
    data = ImageSet.of(images, torch.tensor([0, 1, 1]), names=("3", "7"), skipped={"broken": ("x",)})
    monkeypatch.setattr(assembly, "load_data", lambda where, shape, captioned: data)
    method = methods.load_method("gdd")
    found = assembly.data_of(recipe(lab, data="mine"), method, method.settings(), teacher)
    assert isinstance(found, ImageSet)
    assert found.labels.tolist() == [3, 7, 7]
    assert torch.equal(found.images, images)
    assert (found.names, found.skipped) == (teacher.labels, data.skipped)
    without = replace(teacher, labels=())
    assert assembly.data_of(recipe(lab, data="mine"), method, method.settings(), without) is data


def test_a_run_starts_from_the_average_of_another(lab):
    check_start(lab, 1, "average")


def test_a_run_starts_from_the_raw_student_where_no_average_was_kept(lab):
    check_start(lab, 2, "student")


def check_start(lab, earlier, weights):
    with ProjectFile.open(lab.project, readonly=True) as project:
        run = assembly.start_run(recipe(lab, student={"start": f"run:{earlier}@last"}), project)
        wanted = assembly.load_student(project, earlier, "last", weights).denoiser.state_dict()
    untouched = run.nets.fake_score.state_dict()
    for net in (run.student, run.average):
        assert all(torch.equal(value, wanted[name]) for name, value in net.state_dict().items())
    assert any(not torch.equal(value, wanted[name]) for name, value in untouched.items())


@pytest.mark.parametrize(("method", "follower"), [("consistency", "target"), ("progressive", "next_teacher")])
def test_an_average_of_the_student_starts_where_the_student_starts(lab, method, follower, monkeypatch):
    monkeypatch.setattr(assembly, "_same_use", lambda *_: None)  # dmd2's students are sampled otherwise
    with ProjectFile.open(lab.project, readonly=True) as project:
        start = {"student": {"start": "run:1@last"}, "method": method, "settings": {}, "data": "digits"}
        run = assembly.start_run(recipe(lab, **start), project)
        wanted = assembly.load_student(project, 1).denoiser.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in getattr(run.nets, follower).state_dict().items())


def test_a_start_needs_its_project(lab):
    with pytest.raises(RecipeError, match="must be run in that run's project"):
        assembly.start_run(recipe(lab, student={"start": "run:1@last"}))


def test_a_student_is_loaded_with_what_it_needs(lab):
    with ProjectFile.open(lab.project, readonly=True) as project:
        student = assembly.load_student(project, 1, "4")
    assert (student.run, student.step, student.sampler.levels) == (1, 4, (1.0,))
    assert not any(p.requires_grad for p in student.denoiser.parameters())


def test_a_start_that_is_sampled_otherwise_is_refused() -> None:
    one, four = Sampler("renoise", (1.0,)), Sampler("deterministic", (1.0, 0.75, 0.5, 0.25))
    with pytest.raises(
        RecipeError, match=r"by renoise steps and this method's by deterministic ones; start from a run"
    ):
        assembly._same_use("Run 1's student", replace(four, kind="renoise"), four)
    assembly._same_use("Run 1's student", one, four)  # a single step is the same in both


def test_a_start_from_a_noise_that_it_has_not_learnt_is_refused() -> None:
    def used(*levels: float) -> Sampler:
        return Sampler("renoise", levels)

    with pytest.raises(RecipeError, match=r"starts at time 0\.709 and this method.s would at 1; set first_level"):
        assembly._same_use("Run 1's student", used(0.709), used(1.0, 0.5))
    with pytest.raises(RecipeError, match=r"starts at time 1 and this method's would at 0\.709"):
        assembly._same_use("Run 1's student", used(1.0), used(0.709))  # of one step, that knows no other noise
    assembly._same_use("Run 1's student", used(1.0, 0.5), used(0.709))
    assembly._same_use("Run 1's student", used(0.709), used(0.7091, 0.3))
