"""Tiny models of every family, each written once, and mixtures whose networks are fitted once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .teachers import tiny


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os

    os.environ["DISTILL_STUDIO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _fitted_once() -> Iterator[None]:
    """The network that students of a mixture start as takes seconds, and is the same for the same path and seed.

    A teacher hands out copies of it.
    """
    import torch

    from backend.teachers import mixture_2d

    fit, fitted, t = mixture_2d.fit, dict[Any, Any](), torch.linspace(0, 1, 9, dtype=torch.float64)

    def fit_once(exact: mixture_2d.ClosedFormDenoiser, *seed: int, **more: int) -> Any:
        path = (*exact.path.alpha(t).tolist(), *exact.path.sigma(t).tolist())
        asked = (exact.network.mixture.digest, path, exact.prediction_type, exact.network.null_label)
        key = (*asked, seed, *sorted(more.items()))
        if key not in fitted:
            fitted[key] = fit(exact, *seed, **more)
        return fitted[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture_2d, "fit", fit_once)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """tiny_model(name): the folder of the model of that name, which no test changes."""
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = tiny.write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of
