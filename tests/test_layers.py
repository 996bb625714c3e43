"""The layer rule where import-linter cannot see it: in a fresh interpreter, by what is really loaded."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft")


WALK = (
    "import {0}, pkgutil, importlib; "
    "[importlib.import_module(m.name) for m in pkgutil.walk_packages({0}.__path__, '{0}.')]"
)


@pytest.mark.parametrize(
    "modules",
    [WALK.format("app"), WALK.format("backend.contract"), "import backend.__main__"],
    ids=["app", "backend.contract", "command line"],
)
def test_importing_it_loads_nothing_heavy(modules: str) -> None:
    code = f"import sys; {modules}; print(sorted(m for m in sys.modules if m.split('.')[0] in {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_backend_loads_no_qt() -> None:
    code = (
        "import sys, backend.worker, backend.studio; "
        "print([m for m in sys.modules if m.split('.')[0] in ('PySide6', 'pyqtgraph', 'app')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
