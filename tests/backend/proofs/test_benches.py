"""The bench of a few real samples: what they are, and that the teacher knows nothing of them."""

import pytest
import torch

from backend.proofs import benches
from backend.teachers.mixture_2d import MIXTURE, fit


@pytest.fixture(autouse=True)
def _quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(benches, "fit", lambda exact, **k: fit(exact, seed=0, steps=1, width=32))


def test_the_shots_are_ten_samples_that_lie_between_the_teachers_modes() -> None:
    bench = benches._all()["shots"]()
    assert bench.teacher.draws is not None
    drawn = {tuple(row) for row in bench.teacher.draws.draw(500, torch.Generator().manual_seed(0))[0].tolist()}
    assert len(drawn) == 10
    assert torch.cdist(torch.tensor(sorted(drawn)).double(), bench.mixture.means).min(1).values.max() < 4 * 0.06
    apart = torch.cdist(bench.mixture.means, MIXTURE.means).min(1).values
    torch.testing.assert_close(apart, torch.full((3,), 0.3902).double(), rtol=1e-3, atol=0)  # 2 sin(pi / 16)
    cond = bench.teacher.each_condition(4)
    exact = bench.teacher.denoiser(MIXTURE.means[:4], torch.zeros(4).double(), cond).x0
    torch.testing.assert_close(exact, MIXTURE.means[:4], rtol=0, atol=1e-6)  # the teacher's are the ring's own modes
