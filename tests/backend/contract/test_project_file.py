"""The file as a whole: what is refused, how it is opened, that it can be moved, copied and checked."""

import os
import sqlite3
import tempfile
from collections import namedtuple
from pathlib import Path

import psutil
import pysqlite3
import pytest

from backend.contract import database
from backend.contract.project_file import APPLICATION_ID, VERSION, ProjectFile, ProjectFileError
from tests.backend.contract.conftest import RECIPE, refused, weights

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


# Whole and movable


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
