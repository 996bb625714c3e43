"""From words to objects: what a recipe's names become, and what a run starts from."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend import assembly, checkpoints, methods, train
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, RecipeError
from backend.datasets import DataError, ImageSet
from backend.networks.adapters import own_state
from backend.preflight import preflight
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


@pytest.mark.parametrize(
    ("method", "follower"), [("consistency", "target"), ("progressive", "next_teacher"), ("tcm", "first_stage")]
)
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


def started_twice(teacher, other, tmp_path, kind):
    """A run of `other` whose student's weights are all 0.01 more, as a checkpoint; and what starts from it."""
    path = tmp_path / "lab.distill"
    training = {"steps": 2, "batch_size": 2, "threads": 1}
    asked = {"teacher": str(teacher), "method": "dmd2", "student": {"kind": kind}, "training": training}
    with ProjectFile.create(path) as project:
        number = project.add_run(Recipe.from_values({**asked, "teacher": str(other)}))
        earlier = assembly.start_run(project.recipe(number))
        for net in (earlier.student, earlier.average):
            for value in own_state(net).values():
                value.add_(0.01)
        place = project.files / "state.safetensors"
        checkpoints.save(earlier, place)
        project.add_checkpoint(project.begin_attempt(number), 0, place)
    return path, Recipe.from_values({**asked, "student": {"kind": kind, "start": f"run:{number}@last"}}), earlier


@pytest.fixture
def other_teacher(lab, tmp_path):
    """The laboratory's teacher with other weights of the same shapes."""
    folder = shutil.copytree(lab.teacher, tmp_path / "other")
    (file,) = folder.rglob("*.safetensors")
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file, about)
    return folder


def test_adapters_on_another_teacher_are_refused_and_the_teacher_stays_as_it_is(
    lab, other_teacher, tmp_path, monkeypatch
):
    path, asked, _ = started_twice(lab.teacher, other_teacher, tmp_path, "lora")
    made, start = [], train.start

    def started(*given):
        made.append(start(*given))
        return made[-1]

    monkeypatch.setattr(train, "start", started)
    said = f"Run 1's student is adapters on another teacher's weights, {other_teacher}; start from a run of the same"
    with ProjectFile.open(path, readonly=True) as project, pytest.raises(RecipeError, match=said):
        assembly.start_run(asked, project)
    untouched = load_teacher(str(lab.teacher)).denoiser.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in made[0].teacher.denoiser.state_dict().items())
    (problem,) = preflight(asked, path, dry_run=False).problems
    assert problem.words.startswith(said)


def test_adapters_on_the_same_teacher_are_taken_over_and_no_more(lab, tmp_path):
    path, asked, earlier = started_twice(lab.teacher, lab.teacher, tmp_path, "lora")
    with ProjectFile.open(path, readonly=True) as project:
        run = assembly.start_run(asked, project)
    for net in (run.student, run.average):
        assert all(torch.equal(value, own_state(earlier.average)[name]) for name, value in own_state(net).items())
        teachers = {tensor.data_ptr() for tensor in run.teacher.denoiser.parameters()}
        assert teachers <= {tensor.data_ptr() for tensor in net.parameters()}
    untouched = load_teacher(str(lab.teacher)).denoiser.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in run.teacher.denoiser.state_dict().items())


def test_all_weights_may_come_from_a_student_of_another_teacher_which_leaves_the_teacher_as_it_is(
    lab, other_teacher, tmp_path
):
    path, asked, earlier = started_twice(lab.teacher, other_teacher, tmp_path, "full")
    with ProjectFile.open(path, readonly=True) as project:
        run = assembly.start_run(asked, project)
    wanted = earlier.average.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in run.student.state_dict().items())
    untouched = load_teacher(str(lab.teacher)).denoiser.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in run.teacher.denoiser.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lora", "Run 1's student is all of a network and this run trains adapters; change student.kind, or start"),
        ("full", "Run 1's student is adapters and this run trains all of a network; change student.kind, or start"),
    ],
)
def test_a_start_of_the_other_kind_is_refused(lab, tmp_path, kind, said):
    earlier = "full" if kind == "lora" else "lora"
    path, asked, _ = started_twice(lab.teacher, lab.teacher, tmp_path, earlier)
    changed = asked.model_copy(update={"student": asked.student.model_copy(update={"kind": kind})})
    with ProjectFile.open(path, readonly=True) as project, pytest.raises(RecipeError, match=said):
        assembly.start_run(changed, project)


def test_adapters_on_a_network_that_another_seed_gave_are_refused(tmp_path):
    path, asked, _ = started_twice("mixture-2d", "mixture-2d", tmp_path, "lora")
    seed = asked.training.model_copy(update={"seed": 1})
    with ProjectFile.open(path, readonly=True) as project:
        assembly.start_run(asked, project)
        with pytest.raises(RecipeError, match="adapters on the network that seed 0 gives this teacher; set training"):
            assembly.start_run(asked.model_copy(update={"training": seed}), project)


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
