"""The consistency scheduler's clock and grid."""

import math

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler, UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.exports.consistency import ClockError, consistency_time, integer_grid
from backend.noise import VarianceExploding
from backend.samplers import even_levels

from .students import student, unet_of


def one_level(channels: int, **settings: object) -> UNet2DModel:
    """The smallest network with `channels` time features, its time weights all zero."""
    net = UNet2DModel(
        sample_size=4,
        in_channels=1,
        out_channels=1,
        block_out_channels=(channels,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=2,
        add_attention=False,
        **settings,
    )
    with torch.no_grad():
        net.time_embedding.linear_1.weight.zero_()
    return net.eval()


@torch.no_grad()
def test_the_moved_network_computes_the_same_at_a_thousand_times_the_time():
    unet = unet_of(student("edm", 1.5))
    x, labels = torch.randn(4, 1, 16, 16), torch.arange(4)
    time = torch.tensor([-1.2, -0.3, 0.1, 0.75], dtype=torch.float64)
    before = unet(x, time, class_labels=labels).sample
    after = consistency_time(unet)(x, 1000 * time, class_labels=labels).sample
    assert (before - unet(x, time + 1, class_labels=labels).sample).abs().max() > 0.01  # it does depend on time
    assert (before - after).abs().max() < 1e-5 * before.abs().max()


def test_moving_leaves_the_network_itself_alone():
    unet = unet_of(student("edm"))
    before = unet.time_embedding.linear_1.weight.clone()
    consistency_time(unet)
    assert torch.equal(unet.time_embedding.linear_1.weight, before)


def test_a_network_that_uses_slow_frequencies_cannot_move():
    unet = one_level(16)
    with torch.no_grad():
        unet.time_embedding.linear_1.weight[0, 2] = 1e-6  # the third frequency; there is room for two
    with pytest.raises(ClockError, match="2 fastest"):
        consistency_time(unet)


def test_a_shift_that_is_not_whole_cannot_move():
    with pytest.raises(ClockError, match="not whole"):
        consistency_time(one_level(12))


def test_the_shift_follows_the_networks_frequency_spacing():
    unet = one_level(18, freq_shift=1)  # 9 frequencies over 8 intervals: a thousand is 6 of them
    with torch.no_grad():
        unet.time_embedding.linear_1.weight[:, [0, 9]] = 1.0
    moved = consistency_time(unet).time_embedding.linear_1.weight
    assert moved.nonzero()[:, 1].unique().tolist() == [6, 15]


def test_other_time_embeddings_cannot_move():
    with pytest.raises(ClockError, match="sinusoidal"):
        consistency_time(UNet2DModel(**{**one_level(16).config, "time_embedding_type": "fourier"}))


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 8),
    first=st.floats(0.3, 1),
    sigma_min=st.floats(0.001, 0.1),
    sigma_max=st.floats(2, 100),
    rho=st.sampled_from([5.0, 7.0]),
)
def test_even_steps_of_every_path_are_on_a_grid(steps, first, sigma_min, sigma_max, rho):
    path = VarianceExploding(sigma_min, sigma_max, rho)
    levels = torch.tensor([first * level for level in even_levels(steps)], dtype=torch.float64)
    sigmas = path.sigma(levels).tolist()
    grid = integer_grid(sigmas, rho)
    assert grid is not None
    scheduler = CMStochasticIterativeScheduler(
        grid[0], sigma_min=0.0, sigma_max=sigmas[0], rho=rho, clip_denoised=False
    )
    scheduler.set_timesteps(timesteps=grid[1][::-1])
    made = scheduler.sigmas.double().tolist()
    assert made[-1] == 0
    assert all(math.isclose(a, b, rel_tol=5e-7) for a, b in zip(made, sigmas, strict=False))


def test_unrelated_levels_have_no_grid():
    assert integer_grid([20.0, 9.13, 5.711, 2.2317, 0.9173, 0.0311], 7.0) is None
