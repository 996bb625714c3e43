from pathlib import Path

import pysqlite3
import pytest

from backend.contract import migrations
from backend.contract.database import Database
from backend.contract.project_file import VERSION, OlderProject, ProjectFile, ProjectFileError

SCHEMA = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name"


@pytest.fixture
def old(tmp_path):
    """A project that version 1 wrote, as a fixture that no later edit of the code can change."""
    path = tmp_path / "old.distill"
    connection = pysqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("project_version_1.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def test_a_project_of_version_1_opens_with_all_it_held(old):
    with ProjectFile.open(old) as project:
        (run,) = project.runs()
        assert project.recipe(run.id).settings == {"gan_weight": 0.01}
        assert run.recipe_hash == "97562c6ef405c961ec1350b4d66ba1f3173d4ba7a2e52d307f6330e3846a7f9e"
        state = project.run_state(run.id)
        assert (state.state, state.reason, state.step) == ("stopped", "You stopped it.", 20)
        (series,) = project.series(run.id)
        assert project.points(series).values.tolist() == [step / 4 for step in range(1, 21)]
        assert project.overview(series, pixels=3).high.max() == 5.0
        assert project.image(project.samples_after(run.id)[0]) == b"picture"
        assert [command.verb for command in project.commands(run.id)] == ["stop"]
        assert project._db.pragma("user_version") == VERSION
        assert project.check() == []


def test_an_old_project_ends_up_with_the_schema_of_a_new_one(old, tmp_path):
    with ProjectFile.open(old) as brought, ProjectFile.create(tmp_path / "new.distill") as new:
        assert brought._db.rows(SCHEMA) == new._db.rows(SCHEMA)


def add_rating(db):
    db["runs"].add_column("rating", int)


def reshape_runs(db):
    db["runs"].transform(rename={"rating": "stars"})


def make_runs_again(db):
    db.execute("CREATE TABLE remade (id INTEGER PRIMARY KEY, stars INTEGER)")
    db.execute("INSERT INTO remade SELECT id, stars FROM runs")
    db.execute("DROP TABLE runs")
    db.execute("ALTER TABLE remade RENAME TO runs")


def fail_halfway(db):
    db["runs"].add_column("half", int)
    raise ProjectFileError("No.")


def test_versions_are_applied_in_order_and_only_once(old):
    database = Database(old)
    migrations.migrate(database, [*migrations.MIGRATIONS, add_rating])
    all_versions = [*migrations.MIGRATIONS, add_rating, reshape_runs, make_runs_again]
    migrations.migrate(database, all_versions)
    migrations.migrate(database, all_versions)
    assert database.pragma("user_version") == VERSION + 3
    assert database.rows("SELECT id, stars FROM runs") == [(1, None)]
    # what refers to a reshaped table still does
    assert database.rows("SELECT count(*) FROM attempts JOIN runs ON runs.id = attempts.run") == [(1,)]
    assert database.rows("PRAGMA foreign_key_check") == []
    assert database.pragma("foreign_keys") == 1
    database.close()


def test_a_version_that_fails_leaves_the_one_before(old):
    database = Database(old)
    migrations.migrate(database)
    before = database.rows(SCHEMA)
    with pytest.raises(ProjectFileError):
        migrations.migrate(database, [*migrations.MIGRATIONS, add_rating, fail_halfway])
    assert (database.pragma("user_version"), database.rows(SCHEMA)) == (VERSION, before)
    database.close()


def test_an_older_project_cannot_be_only_read(old, monkeypatch):
    monkeypatch.setattr("backend.contract.project_file.VERSION", VERSION + 1)
    with pytest.raises(OlderProject, match="written by an older version; open it once where it can be written"):
        ProjectFile.open(old, readonly=True)
