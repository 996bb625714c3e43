"""Tiny models of every family, each written once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .teachers import tiny


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    os.environ["DISTILL_STUDIO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_model(name): the folder of the model of that name, which no test changes."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tiny.write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of
