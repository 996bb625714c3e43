"""What the command line and the window ask for, beside what `test_cli` sees of it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from backend import students, studio
from backend.contract.errors import UserError
from backend.contract.project_file import NotInProject, ProjectFile, remove_unfinished_copies
from backend.contract.recipe import Recipe, RecipeError
from backend.contract.tables.samples import PICTURE_BYTES_LIMIT
from backend.exports.model_card import measured_table


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "lab.distill"
    studio.new(path)
    return path


@pytest.mark.parametrize(
    ("text", "path"),
    [("lab", "lab.distill"), ("lab.distill", "lab.distill"), ("my.lab", "my.lab.distill"), ("there.db", "there.db")],
)
def test_the_suffix_of_a_project_is_added(tmp_path, monkeypatch, text, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.db").touch()
    assert studio.project_path(text) == Path(path)


def test_a_recipe_has_the_methods_own_training_values_and_what_is_given():
    asked = studio.recipe_of(None, "digits", "gdd", None, {"batch_size": 5, "noise_levels": 3}, {"steps": 9})
    assert (asked.training.batch_size, asked.training.steps, asked.training.ema_decay) == (5, 9, 0.99)
    assert asked.settings == {"noise_levels": 3}


def test_a_recipe_file_is_whole_and_the_given_changes_it(tmp_path):
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({"teacher": "digits", "method": "gdd", "settings": {"noise_levels": 3}}))
    asked = studio.recipe_of(file, None, None, "digits-all", {"frozen": "block convolutions"}, {"seed": 4})
    assert (asked.data, asked.training.seed, asked.training.batch_size) == ("digits-all", 4, 64)
    assert asked.settings == {"noise_levels": 3, "frozen": "block convolutions"}
    with pytest.raises(RecipeError, match="There is no setting noise_level; did you mean noise_levels"):
        studio.recipe_of(file, None, None, None, {"noise_level": 1}, {})


def test_paths_are_made_whole_and_bundled_names_win(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "mine"):
        (tmp_path / name).mkdir()
    bundled = studio.recipe_of(None, "digits", "gdd", "digits", {}, {})
    own = studio.recipe_of(None, "mine", "gdd", "mine", {}, {})
    assert (bundled.teacher, bundled.data) == ("digits", "digits")
    assert (own.teacher, own.data) == (str(tmp_path / "mine"), str(tmp_path / "mine"))


def test_runs_are_found_by_number_and_by_name(lab):
    assert studio.find(lab.project, "1").name == studio.find(lab.project, "first").name == "first"
    with pytest.raises(NotInProject, match=r"There is no run ra in lab\.distill; did you mean raw"):
        studio.find(lab.project, "ra")


@pytest.mark.parametrize("name", ["3", "", "  "])
def test_names_that_cannot_be_said_are_refused(project, name):
    with pytest.raises(UserError, match="A run cannot be named"):
        studio.start(project, Recipe.from_values({"teacher": "digits", "method": "dmd2"}), name)
    assert studio.runs(project) == []


def test_a_grid_that_was_drawn_twice_is_written_once(project, tmp_path):
    from backend import pictures

    def png(grey: int) -> bytes:
        return pictures.png(Image.new("L", (16, 16), grey))

    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        for grey in (10, 20):
            for position in (1, 0):
                image = png(grey + position)
                opened.add_sample(run, step=5, kind="preview", position=position, image=image)
    (sheet,) = studio.samples(project, run, tmp_path / "out")
    with Image.open(sheet) as page:
        assert page.size == (66, 32)
        assert (page.getpixel((0, 0)), page.getpixel((34, 0))) == (20, 21)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "preview-00000005.png",
        "preview-00000005-000.png",
        "preview-00000005-001.png",
    }


def test_rows_of_a_view_stand_below_each_other(project, tmp_path):
    from backend import pictures

    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        row = pictures.png(Image.new("L", (160, 16)))
        for position in range(3):
            opened.add_sample(run, step=5, kind="teacher_view", position=position, image=row)
    (sheet,) = studio.samples(project, run, tmp_path / "out")
    with Image.open(sheet) as page:
        assert page.size == (320, 3 * 34 - 2)


def test_a_student_is_used_at_other_numbers_of_evaluations(lab):
    student = students.student_of(lab.project, 1, "last", nfe=4)
    assert student.sampler.kind == "renoise"
    assert student.sampler.levels == (1.0, 0.75, 0.5, 0.25)
    for nfe in (0, -1, 10_000):
        with pytest.raises(UserError, match=f"{nfe} network evaluations are not possible"):
            students.student_of(lab.project, 1, "last", nfe=nfe)


def test_the_levels_of_a_student_lie_on_its_schedulers_grid(tiny_teacher, tmp_path):
    """Else plain diffusers could not be set to them."""
    from backend import checkpoints
    from backend.assembly import start_run

    asked = Recipe.from_values({"teacher": str(tiny_teacher("digits-eps")), "method": "dmd2"})
    path = tmp_path / "lab.distill"
    with ProjectFile.create(path) as opened:
        attempt = opened.begin_attempt(opened.add_run(asked))
        checkpoints.save(start_run(asked), opened.files / "one.safetensors")
        opened.add_checkpoint(attempt, 0, opened.files / "one.safetensors")
    levels = students.student_of(path, 1, "last", nfe=7).sampler.levels
    assert all(level * 999 == pytest.approx(round(level * 999), abs=1e-9) for level in levels)


def test_a_card_has_figures_of_this_student_alone(lab, project):
    student = students.student_of(lab.project, 1, "last")

    def measured(who: str, nfe: int, count: int, step: int, frechet: float) -> None:
        recipe = {"of": who, "nfe": nfe, "count": count, "measured_in": "digits-48"}
        opened.add_evaluation(1, step, recipe, {"frechet": frechet, "width": None})

    with ProjectFile.open(project) as opened:
        opened.add_run(student.recipe, name="mine")
        measured("student", 1, 1000, 6, 1.0)
        measured("teacher", 50, 1000, 6, 2.0)
        measured("teacher_at_student_nfe", 1, 1000, 6, 3.0)
        measured("student", 1, 1000, 4, 4.0)  # another checkpoint
        measured("student", 4, 1000, 6, 5.0)  # used otherwise
        measured("teacher_at_student_nfe", 4, 1000, 6, 6.0)
        measured("teacher", 50, 60, 6, 7.0)  # of another number of samples
    facts = students.facts_of(project, student)
    assert [(row.who, row.nfe, row.figures) for row in facts.measured] == [
        ("student", 1, {"frechet": 1.0}),
        ("teacher", 50, {"frechet": 2.0}),
        ("teacher", 1, {"frechet": 3.0}),
    ]
    assert (facts.title, facts.step, facts.measured_by) == ("mine", 6, "digits-48, 1000 samples")


def test_a_card_of_a_student_that_was_never_evaluated_has_the_figures_of_its_preview(lab, project):
    student = students.student_of(lab.project, 1, "last")
    with ProjectFile.open(lab.project, readonly=True) as opened:
        (shown, *_) = (row for row in opened.samples_after(1) if (row.step, row.kind) == (6, "preview"))
        series = opened.find_series(1, "preview_frechet")
        assert series is not None
        frechet = opened.points(series).values[-1]
    with ProjectFile.open(project) as opened:  # which no other test evaluates
        run = opened.add_run(student.recipe, name="mine")
        sampler, scores = shown.sampler, shown.scores
        opened.add_sample(run, step=6, kind="preview", position=0, image=b"", sampler=sampler, scores=scores)
    facts = students.facts_of(project, student)
    (row,) = facts.measured
    assert (row.who, row.nfe) == ("student", 1)
    assert row.figures["frechet"] == pytest.approx(frechet)
    assert "Measured by the run itself, on the few samples of its preview at step 6; " in measured_table(facts)
    # It says nothing of another use, of the raw weights beside the average, or of another checkpoint.
    for other, weights in (
        (students.student_of(lab.project, 1, "last", nfe=2), None),
        (student, "raw"),
        (students.student_of(lab.project, 1, "4"), None),
    ):
        assert measured_table(students.facts_of(project, other, weights)) == "Not measured."


def test_a_free_name_is_free(tmp_path):
    for name in ("demo", "demo-2", "demo-3"):
        path = studio.free_name(tmp_path, "demo")
        assert path.name == f"{name}.distill"
        path.touch()


def kept(project: Path) -> Path:
    """A project with a checkpoint and a picture that lies beside it; its files."""
    with ProjectFile.open(project) as opened:
        attempt = opened.begin_attempt(
            run := opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        )
        weights = opened.files / "checkpoints" / "run-1" / "step-5.safetensors"
        weights.parent.mkdir(parents=True)
        weights.write_bytes(b"weights")
        opened.add_checkpoint(attempt, 5, weights)
        opened.add_sample(run, step=5, kind="preview", position=0, image=bytes(PICTURE_BYTES_LIMIT + 1))
        return opened.files


def test_a_copy_is_whole_while_the_project_is_written(project, tmp_path):
    kept(project)
    with ProjectFile.open(project) as opened:
        studio.copy(project, tmp_path / "home.distill")
        opened.add_run(Recipe.from_values({"teacher": "digits", "method": "gdd"}))
    assert studio.check(tmp_path / "home.distill") == []
    with ProjectFile.open(tmp_path / "home.distill") as copy:
        assert [one.id for one in copy.runs()] == [1]
        (sample,) = copy.samples_after(1)
        assert len(copy.image(sample)) == PICTURE_BYTES_LIMIT + 1
        assert copy.checkpoint_path(copy.checkpoints(1)[0]).read_bytes() == b"weights"
    names = {path.name for path in tmp_path.iterdir()}
    assert not [name for name in names if name.startswith(".")]


def test_a_copy_has_the_logs_and_the_pictures_of_exports_too(project, tmp_path):
    files = kept(project)
    with ProjectFile.open(project) as opened:
        run = opened.add_run(Recipe.from_values({"teacher": "digits", "method": "dmd2"}))
        log = opened.prepare_attempt(run).log
        opened.add_export(1, "diffusers", "/away", "0" * 64, {"sheets": {"made": "exports/run-1/made.png"}})
    for name, text in ((log, "a line"), ("exports/run-1/made.png", "picture")):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text)
    studio.copy(project, tmp_path / "home.distill")
    assert (tmp_path / "home.files" / log).read_text() == "a line"
    assert (tmp_path / "home.files" / "exports/run-1/made.png").read_text() == "picture"


def test_a_copy_says_how_far_it_is(project, tmp_path):
    kept(project)
    said = []
    studio.copy(project, tmp_path / "home.distill", said.append)
    assert len(said) == 3  # the database, and before each of two files
    assert all(words.startswith("copied ") and " MiB" in words for words in said)


def test_what_a_killed_copy_left_is_cleared_away(tmp_path):
    left = tmp_path / ".home.distill.12.part"
    left.touch()
    (tmp_path / ".home.distill.12.files" / "checkpoints").mkdir(parents=True)
    other = tmp_path / ".other.distill.12.part"
    other.touch()
    remove_unfinished_copies(tmp_path / "home.distill")
    assert list(tmp_path.iterdir()) == [other]


def test_a_checkpoint_that_is_given_up_meanwhile_is_left_out_of_a_copy(project, tmp_path):
    (kept(project) / "checkpoints" / "run-1" / "step-5.safetensors").unlink()
    studio.copy(project, tmp_path / "home.distill")
    assert (tmp_path / "home.distill").is_file()


def test_a_copy_replaces_nothing(project, tmp_path):
    (tmp_path / "home.files").mkdir()
    with pytest.raises(UserError, match=r"home\.distill or its files exist already; choose another name\."):
        studio.copy(project, tmp_path / "home.distill")
    with pytest.raises(UserError, match="cannot be written to; choose another one"):
        studio.copy(project, tmp_path / "away" / "copy.distill")
    assert not (tmp_path / "away").exists()
