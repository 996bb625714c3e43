"""The menu entry: installed where the desktop looks, with the program that is there, and removed without a trace."""

import configparser
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from backend.contract.project_file import APPLICATION_ID

FOLDER = Path(__file__).parents[2] / "packaging" / "linux"
NAME = "org.distillstudio.DistillStudio"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def install(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HOME": str(home), "XDG_DATA_HOME": str(home / "share")}
    return subprocess.run(
        ["bash", str(FOLDER / "install.sh"), *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_the_entry_starts_the_program_and_is_removed_whole(tmp_path: Path) -> None:
    done = install(tmp_path)
    assert done.returncode == 0, done.stderr
    entry = configparser.ConfigParser(interpolation=None)
    entry.read(tmp_path / "share" / "applications" / f"{NAME}.desktop")
    program, file = entry["Desktop Entry"]["Exec"].rsplit(" ", 1)
    assert os.access(program.strip('"'), os.X_OK)
    assert file == "%f"
    assert (tmp_path / "share" / "icons" / "hicolor" / "scalable" / "apps" / f"{NAME}.svg").is_file()
    assert install(tmp_path, "--remove").returncode == 0
    assert [path.name for path in (tmp_path / "share").rglob(f"{NAME}*")] == []


def test_a_project_is_told_from_other_databases_by_its_own_mark() -> None:
    text = (FOLDER / f"{NAME}.mime.xml").read_text()
    marks = {match.get("offset"): match.get("value") for match in ET.fromstring(text).iter() if match.get("offset")}
    assert marks["68"] == APPLICATION_ID.to_bytes(4, "big").decode()
