"""That the rules themselves stay whole as the house grows."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_layer_rule_names_every_part_of_the_backend_but_the_contract() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name for rule in rules if rule["name"].startswith("Of the backend") for name in rule["forbidden_modules"]}
    parts = {
        path.stem for path in (ROOT / "backend").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert named == {f"backend.{part}" for part in parts if not part.startswith("__") and part != "contract"}


def test_the_top_level_is_as_agreed() -> None:
    ours = {".ci", ".gitignore", "README.md", "app", "backend", "packaging", "pyproject.toml", "resources", "tests"}
    assert all((ROOT / name).exists() for name in ours)
    assert not (ROOT / "packaging" / "__init__.py").exists()  # it would hide the packaging library
