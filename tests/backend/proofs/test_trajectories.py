"""What the proofs of trajectory methods leave out: figures of the specification for other settings on the same benches.

    pytest -m long -n 0 -s tests/backend/proofs/test_trajectories.py

prints them.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch

from backend.proofs import begin, load_proof
from backend.train import train

pytestmark = pytest.mark.long


def coupling_error(name: str, **settings: Any) -> float:
    """Root mean square distance from the exact probability-flow map, after the proof's training."""
    torch.set_num_threads(1)
    proof = load_proof(name)
    bench, run = begin(name, replace(proof, settings={**proof.settings, **settings}), key_term=True)
    for _ in train(run):
        pass
    found = bench.figures(run.exported, run.sampler, 1.0)["coupling_rmse"]
    print(name, settings, f"{found:.3f}")
    return found


def test_without_a_discriminator_scotts_error_grows_with_the_noise_up_to_the_posterior_mean() -> None:
    none, little, much, all_of_it = (coupling_error("scott", eta=eta, gan_weight=0.0) for eta in (0.0, 0.1, 0.5, 1.0))
    assert none < 0.113
    assert none < little < 0.226
    assert little < much < all_of_it
    assert all_of_it == pytest.approx(0.699, rel=0.02)  # the exact posterior mean's


def test_in_phases_pcm_is_nearer_in_four_steps_than_without_them_in_one() -> None:
    four, one = coupling_error("pcm"), coupling_error("pcm", student_steps=1)
    assert four < 0.089
    assert four < 0.75 * one
    assert one < 0.33


def test_arcflow_leads_each_noise_where_the_teacher_does() -> None:
    assert coupling_error("arcflow") < 0.106


def test_between_a_sub_paths_ends_slam_is_led_as_well_as_at_them() -> None:
    assert coupling_error("slam") < coupling_error("slam", between=False) + 0.1


def test_acd_is_consistent_with_and_without_its_discriminator() -> None:
    assert coupling_error("acd", gan_weight=0.0) < 0.3
    assert coupling_error("acd") < 0.3
