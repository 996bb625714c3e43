"""MSD: the more students share out the classes, the nearer they come, unless one is large enough for all of them.

    pytest -m long -n 0 -s tests/backend/proofs/test_several_students.py

prints the figures. Every run has the same batches and steps, and so the same cost.
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from backend.proofs import begin, load_proof
from backend.proofs.benches import BENCHES, _bench
from backend.train import train

pytestmark = pytest.mark.long


def error(students: int, width: int) -> float:
    """Of the modes' weights, after the proof's training of so many students of that width."""
    torch.set_num_threads(1)
    proof = load_proof("msd")
    bench = partial(_bench, "small", BENCHES["small"]().mixture, "edm", True, width)
    asked = replace(proof, bench="", own=bench, settings={**proof.settings, "students": students})
    made, run = begin("msd", asked, key_term=True)
    for _ in train(run):
        pass
    found = made.figures(run.exported, run.sampler)["weights_tv"]
    print(f"{students} students of width {width}: {found:.3f}")
    return found


def test_of_small_students_more_are_nearer_and_of_large_ones_hardly() -> None:
    small = [error(students, 16) for students in (1, 2, 4, 8)]
    assert all(more < fewer for fewer, more in pairwise(small))
    large = [error(students, 128) for students in (1, 8)]
    assert max(large) < min(small)
    assert large[0] - large[1] < (small[0] - small[-1]) / 2
