import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import psutil
import pysqlite3
import pytest

from backend.contract import database, liveness
from backend.contract.metrics import MetricRow
from backend.contract.project_file import (
    APPLICATION_ID,
    PICTURE_BYTES_LIMIT,
    VERSION,
    NotInProject,
    ProjectFile,
    ProjectFileError,
)
from backend.contract.recipe import Recipe

RECIPE = Recipe(teacher="digits", method="dmd2", settings={"gan_weight": 0.01})


@pytest.fixture
def path(tmp_path):
    ProjectFile.create(tmp_path / "a.distill").close()
    return tmp_path / "a.distill"


@pytest.fixture
def project(path):
    with ProjectFile.open(path) as project:
        yield project


def refused(kind, *arguments, **options):
    with pytest.raises(ProjectFileError) as refusal:
        kind(*arguments, **options)
    return str(refusal.value)


# What cannot be opened


def test_what_is_no_project_is_refused(tmp_path):
    text = tmp_path / "notes.distill"
    text.write_text("not a database, and long enough to be looked at " * 100)
    other = tmp_path / "other.distill"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE something (a)")
    empty = tmp_path / "empty.distill"
    empty.touch()
    for found in (text, other, empty):
        before = found.read_bytes()
        sentence = f"{found.name} is not a project; choose a file that `distill new` has made."
        assert refused(ProjectFile.open, found) == sentence
        assert refused(ProjectFile.open, found, readonly=True) == sentence
        assert found.read_bytes() == before


def test_a_folder_or_nothing_is_refused(tmp_path):
    assert refused(ProjectFile.open, tmp_path).endswith("is a folder; choose a file that `distill new` has made.")
    missing = tmp_path / "gone.distill"
    assert refused(ProjectFile.open, missing) == f"{missing} is missing; check its name, or make it with `distill new`."
    assert not missing.exists()


def test_a_newer_project_is_refused_and_left_alone(path):
    connection = pysqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    assert refused(ProjectFile.open, path) == (
        f"a.distill was written by a newer version (form {VERSION + 1}, known up to {VERSION}); "
        "update the program to open it."
    )
    assert path.read_bytes() == before


def test_a_damaged_project_is_refused_or_reported(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    assert "a.distill is damaged" in refused(lambda: ProjectFile.open(path).runs())


def test_create_refuses_what_exists_and_what_cannot_be(path, tmp_path):
    assert refused(ProjectFile.create, path) == "a.distill exists already; open it, or choose another name."
    assert "is missing; make it first." in refused(ProjectFile.create, tmp_path / "no" / "b.distill")


def test_a_failed_creation_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(database.Database, "use_write_ahead_log", _refuse_log)
    with pytest.raises(ProjectFileError):
        ProjectFile.create(tmp_path / "b.distill")
    assert list(tmp_path.iterdir()) == []


def _refuse_log(_):
    raise ProjectFileError("No.")


def test_a_disk_without_shared_memory_is_refused(path, monkeypatch):
    monkeypatch.setattr(database.Database, "pragma", lambda *_: "delete")
    assert refused(database.Database(path).use_write_ahead_log) == (
        "The disk of a.distill cannot be shared between programs; move the project to a local disk."
    )


@pytest.fixture
def ordinary_user(tmp_path):
    """Permissions hold for everyone but root."""
    if os.name == "posix" and os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if folder != Path(folder.anchor) and folder != Path(tempfile.gettempdir()):
                folder.chmod(folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield
    tmp_path.chmod(0o755)


def test_a_read_only_project_can_be_read_but_not_opened_for_writing(path, request):
    with ProjectFile.open(path) as project:
        project.add_run(RECIPE)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    request.getfixturevalue("ordinary_user")
    sentence = "a.distill or its folder is read-only; copy it to a folder that you can write to."
    assert refused(ProjectFile.open, path) == sentence
    assert "is read-only; choose a folder" in refused(ProjectFile.create, path.with_name("b.distill"))
    with ProjectFile.open(path, readonly=True) as project:
        assert len(project.runs()) == 1
        assert refused(project.add_run, RECIPE) == sentence


def test_a_locked_project_says_so(path):
    with ProjectFile.open(path) as first, ProjectFile.open(path, busy_seconds=0.01) as second:
        with first.transaction():
            sentence = refused(second.add_run, RECIPE)
        assert sentence == "a.distill is locked by another program; close it there and try again."
        assert second.add_run(RECIPE) == 1


def test_a_full_disk_says_so_and_keeps_what_was_there(project):
    run = project.add_run(RECIPE)
    project._db.pragma(f"max_page_count = {project._db.pragma('page_count')}")
    sentence = refused(project.set_notes, run, "x" * 10**6)
    assert sentence == "The disk of a.distill is full; free some space and try again."
    assert project.run(run).notes == ""
    assert project.check() == []


def test_a_failing_disk_says_so():
    error = pysqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = 10 | 3 << 8  # SQLITE_IOERR_WRITE
    assert database._sentence(error, "a.distill") == (
        "The disk of a.distill failed (disk I/O error); check the disk, then run `distill check`."
    )


@pytest.mark.parametrize(
    ("fstype", "opts"), [("nfs4", "rw"), ("cifs", "rw"), ("fuse.sshfs", "rw"), ("NTFS", "rw,remote")]
)
def test_a_network_disk_is_refused(path, monkeypatch, fstype, opts):
    Partition = namedtuple("Partition", "mountpoint fstype opts")
    disks = [Partition("/", "ext4", "rw"), Partition(str(path.parent), fstype, opts)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)
    expected = (
        f"a.distill lies on a network disk ({path.parent}), where a live project gets damaged; "
        "copy it and its folder of files to a local disk."
    )
    assert refused(ProjectFile.open, path) == expected
    assert refused(ProjectFile.create, path.with_name("b.distill")) == expected.replace("a.dis", "b.dis")
    disks[1] = Partition(str(path.parent), "ext4", "rw")
    ProjectFile.open(path).close()


def test_an_unsound_sqlite_is_refused():
    with pytest.raises(ProjectFileError, match=r"SQLite 3\.51\.2 can lose data .* pysqlite3 0\.6\.1 or newer"):
        database.require_sound_sqlite((3, 51, 2))
    database.require_sound_sqlite((3, 51, 3))
    assert pysqlite3.sqlite_version_info >= (3, 51, 3)


# How it is opened


def test_a_project_is_marked_and_set_up_as_it_should_be(path):
    assert int.from_bytes(path.read_bytes()[68:72]) == APPLICATION_ID
    with ProjectFile.open(path) as client, ProjectFile.open(path, role="worker") as worker:
        asked = ("page_size", "journal_mode", "synchronous", "foreign_keys", "mmap_size")
        for project in (client, worker):
            assert [project._db.pragma(name) for name in asked] == [16384, "wal", 1, 1, 0]
        assert client._db.pragma("wal_autocheckpoint") == 0
        assert worker._db.pragma("wal_autocheckpoint") > 0


def test_data_version_changes_when_another_connection_writes(path):
    with ProjectFile.open(path) as first, ProjectFile.open(path) as second:
        before = first.data_version()
        first.add_run(RECIPE)
        assert first.data_version() == before
        second.add_run(RECIPE)
        assert first.data_version() != before


def test_a_client_folds_the_log_only_where_no_worker_lives(path):
    with ProjectFile.open(path, readonly=True) as watcher:
        with ProjectFile.open(path) as client:
            run = client.add_run(RECIPE)
            attempt = client.begin_attempt(run)  # this process is the live worker
        assert watcher.runs()
        size = path.stat().st_size
        with ProjectFile.open(path) as client:
            client.set_notes(run, "x" * 100_000)
        assert path.stat().st_size == size
        with ProjectFile.open(path) as client:
            client.end_attempt(attempt, "finished")
        assert path.stat().st_size > size


# Runs, attempts, state


def test_a_declaration_is_stored_where_there_is_none_and_never_replaced(project):
    run = project.add_run(RECIPE)
    project.set_declaration(run, {"title": "then"})
    project.set_declaration(run, {"title": "now"})
    assert project.run(run).declaration == {"title": "then"}


def test_a_run_keeps_what_it_was_asked_to_be(project):
    run = project.add_run(RECIPE, declaration={"properties": {}}, teacher_hash="abc", consumes={"store": "def"})
    second = project.add_run(RECIPE, name="again")
    project.set_notes(second, "Ünicode")
    project.set_tags(second, ["a", "b"])
    project.rename_run(second, "renamed")
    project.set_hashes(second, teacher_hash="t", data_hash="d")
    found = project.runs()
    assert [row.name for row in found] == ["dmd2-1", "renamed"]
    assert project.recipe(run) == RECIPE
    assert (found[0].recipe_hash, found[0].consumes, found[0].teacher_hash) == (RECIPE.hash(), {"store": "def"}, "abc")
    assert (found[1].notes, found[1].tags, found[1].data_hash) == ("Ünicode", ("a", "b"), "d")
    assert project.find_run("renamed").id == project.find_run("2").id == second
    assert refused(project.find_run, "nobody") == "There is no run nobody in a.distill; see `distill runs`."
    project.rename_run(run, "renamed")
    assert refused(project.find_run, "renamed") == "2 runs are named renamed; give the number of one."
    with pytest.raises(NotInProject):
        project.set_notes(99, "")


def test_state_follows_a_run_through_its_life(project):
    run = project.add_run(RECIPE)
    assert project.run_state(run).state == "queued"
    prepared = project.prepare_attempt(run)
    assert project.run_state(run).state == "starting"
    attempt = project.begin_attempt(run)
    assert attempt == prepared.id
    assert (project.attempt(attempt).log, project.run_state(run).state) == ("logs/run-1-attempt-1.log", "starting")
    project.record(attempt, [MetricRow(1, {"loss": 1.0}, 0.0)])
    assert project.run_state(run).state == "running"
    pause = project.issue(run, "pause")
    project.acknowledge(pause)
    assert project.run_state(run).state == "paused"
    project.finish(pause)
    assert project.run_state(run).state == "running"
    stop = project.issue(run, "stop")
    assert project.run_state(run).state == "stopping"
    project.end_attempt(attempt, "stopped", "You stopped it.")
    state = project.run_state(run)
    assert (state.state, state.reason, state.step) == ("stopped", "You stopped it.", 1)
    assert project.command(stop).result == "Done."
    project.set_queue_position(run, 1)
    assert project.run_state(run).state == "queued"


def test_a_run_has_one_process_at_a_time(project):
    run = project.add_run(RECIPE)
    attempt = project.begin_attempt(run)
    expected = f"Run 1 is already being worked on in process {os.getpid()}; stop it first."
    assert refused(project.begin_attempt, run) == expected
    assert refused(project.prepare_attempt, run) == expected
    project.end_attempt(attempt, "failed", "Out of memory.", "Traceback ...")
    second = project.begin_attempt(run)
    assert [row.number for row in project.attempts(run)] == [1, 2]
    assert project.attempt(attempt).traceback == "Traceback ..."
    assert project.run_state(run).attempt == second


def test_commands_for_a_process_that_is_gone_are_closed_by_the_next(project):
    run = project.add_run(RECIPE)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    attempt = project.prepare_attempt(run)
    project.set_process(attempt.id, liveness.process(child.pid))
    stop = project.issue(run, "stop")
    child.communicate()
    assert project.run_state(run).state == "lost"
    project.begin_attempt(run)
    assert project.open_commands(run) == []
    assert project.command(stop).result == "The process it was meant for had ended."
    assert project.run_state(run).state == "starting"


# What a run produced


def test_small_pictures_lie_in_the_database_and_large_ones_beside_it(project):
    run = project.add_run(RECIPE)
    small, large = b"s" * PICTURE_BYTES_LIMIT, b"l" * (PICTURE_BYTES_LIMIT + 1)
    project.add_sample(run, step=1, kind="preview", position=0, image=small, thumbnail=b"t", label="three", seed=7)
    project.add_sample(run, step=1, kind="preview", position=1, image=large, scores={"clip": 0.5})
    first, second = project.samples_after(run)
    assert (first.path, first.label, first.seed) == (None, "three", 7)
    assert (project.image(first), project.thumbnail(first)) == (small, b"t")
    assert (project.image(second), project.thumbnail(second)) == (large, large)
    assert second.path is not None
    assert (project.files / second.path).read_bytes() == large
    assert project.samples_after(run, first.id) == [second]
    assert project.check() == []
    (project.files / second.path).unlink()
    assert "is missing from a.files" in refused(project.image, second)


def weights(project, name, content=b"weights"):
    folder = project.files / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "student.safetensors").write_bytes(content)
    return folder


def test_checkpoints_are_found_by_step_last_and_best(project):
    run = project.add_run(RECIPE)
    attempt = project.begin_attempt(run)
    assert "has no checkpoint last; it has none yet" in refused(project.find_checkpoint, run)
    for step in (100, 200, 300):
        project.add_checkpoint(attempt, step, weights(project, str(step)), is_best=step < 300, meta={"score": step})
    assert project.find_checkpoint(run).step == 300
    best = project.find_checkpoint(run, "best")
    assert (best.step, best.bytes, best.meta) == (200, 7, {"score": 200})
    assert project.checkpoint_path(best) == project.files / "checkpoints" / "200"
    project.give_up_checkpoint(project.find_checkpoint(run, "100").id)
    assert [row.step for row in project.checkpoints(run)] == [200, 300]
    assert [row.step for row in project.checkpoints(run, kept=False)] == [100, 200, 300]
    assert refused(project.find_checkpoint, run, "100") == "Run 1 has no checkpoint 100; it has 200, 300."
    project.mark_best(project.find_checkpoint(run, "300"))
    assert project.find_checkpoint(run, "best").step == 300


def test_a_checkpoint_is_on_the_disk_when_its_row_is(project):
    attempt = project.begin_attempt(project.add_run(RECIPE))
    seen: list[str] = []
    project._db.connection.set_trace_callback(seen.append)
    project.add_checkpoint(attempt, 1, weights(project, "1"))
    project._db.connection.set_trace_callback(None)
    steps = [sql for sql in seen if "synchronous" in sql or sql in ("BEGIN IMMEDIATE", "COMMIT")]
    assert steps == ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous = NORMAL"]


def test_check_names_what_is_missing_or_changed(project):
    run = project.add_run(RECIPE)
    attempt = project.begin_attempt(run)
    for step in (1, 2, 3):
        project.add_checkpoint(attempt, step, weights(project, str(step)))
    project.add_sample(run, step=1, kind="preview", position=0, image=b"picture")
    assert project.check() == []
    (project.files / "checkpoints/1/student.safetensors").write_bytes(b"WEIGHTS")
    (project.files / "checkpoints/2/student.safetensors").rename(project.files / "checkpoints/2/other")
    (project.files / "checkpoints/3/student.safetensors").unlink()
    (project.files / "checkpoints/3").rmdir()
    project._db.run("UPDATE pictures SET image = x'00'")
    project._db.pragma("foreign_keys = OFF")
    project._db.run("DELETE FROM runs")
    found = project.check()
    assert sum("refers to a row of runs that is not there" in sentence for sentence in found) == 5
    assert [sentence.partition("; ")[0] for sentence in found if "refers" not in sentence] == [
        "The checkpoint of step 1, checkpoints/1, is not what was written",
        "The checkpoint of step 2, checkpoints/2, is not what was written",
        "The checkpoint of step 3, checkpoints/3, is missing from a.files",
        "The picture of sample 1 is not what was written.",
    ]


def test_events_evaluations_and_exports_come_back(project):
    run = project.add_run(RECIPE)
    first = project.add_event(run, "warning", "The loss rises.", step=3, data={"loss": 2.0}, at=5.0)
    project.add_event(run, "info", "Better.")
    warning = project.events_after(run)[0]
    assert (warning.kind, warning.step, warning.data) == ("warning", 3, {"loss": 2.0})
    assert [row.text for row in project.events_after(run, first)] == ["Better."]
    project.add_evaluation(run, 100, {"network": "digits", "count": 1000}, {"frechet": 1.5})
    project.add_export(run, "diffusers", "/out", "abc", {"agrees": True})
    assert project.evaluations(run)[0].figures == {"frechet": 1.5}
    assert project.exports(run)[0].verification == {"agrees": True}


def test_a_moved_pair_is_whole(path, tmp_path):
    with ProjectFile.open(path) as project:
        attempt = project.begin_attempt(project.add_run(RECIPE))
        project.add_checkpoint(attempt, 1, weights(project, "1"))
        project.end_attempt(attempt, "finished")
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "b.distill")
    (tmp_path / "a.files").rename(tmp_path / "elsewhere" / "b.files")
    with ProjectFile.open(tmp_path / "elsewhere" / "b.distill") as project:
        assert project.check() == []


def test_the_draft_of_the_next_run_is_kept_with_its_position(project, path):
    assert project.draft() is None
    project.save_draft([{"teacher": "digits"}, {"teacher": "mine"}], 1)
    project.save_draft([{"teacher": "digits"}, {"teacher": "mine"}, {"teacher": "é"}], 2)
    with ProjectFile.open(path, readonly=True) as other:
        assert other.draft() == ([{"teacher": "digits"}, {"teacher": "mine"}, {"teacher": "é"}], 2)
