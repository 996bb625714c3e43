"""How schedulers are set, where the answer is known without an export."""

import pytest
import torch
from diffusers import DDIMScheduler
from pydantic import TypeAdapter

from backend.exports import ExportError
from backend.exports.usage import Usage, betas_of, formula, usage_of
from backend.noise import Trigonometric, VariancePreserving, linear_betas
from backend.samplers import Sampler, even_levels

from .students import student


@pytest.mark.parametrize(
    "settings",
    [
        {"beta_schedule": "linear"},
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"beta_schedule": "linear", "beta_start": 0.0002, "beta_end": 0.03, "num_train_timesteps": 400},
        {
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "rescale_betas_zero_snr": True,
        },
    ],
)
def test_named_schedules_are_recognised(settings):
    table = DDIMScheduler(**settings).alphas_cumprod
    found = betas_of(VariancePreserving(table))
    assert "trained_betas" not in found
    assert torch.equal(DDIMScheduler(**found).alphas_cumprod, table)


def test_any_other_table_travels_as_its_betas():
    table = VariancePreserving.of_betas(linear_betas() ** 1.1).alphas_cumprod
    found = betas_of(VariancePreserving(table))
    assert "trained_betas" in found
    made = DDIMScheduler(**found).alphas_cumprod.double()
    assert torch.allclose(made, table, rtol=3e-6)


def test_the_formula_of_epsilon_is_its_textbook_form():
    net = student("epsilon")
    (step,) = formula(net, Sampler("renoise", (0.5,)))
    t = torch.tensor(0.5, dtype=torch.float64)
    alpha, sigma = float(net.path.alpha(t)), float(net.path.sigma(t))
    assert step.time == 499.5
    assert step.x0 == pytest.approx((1 / alpha, -sigma / alpha))
    assert step.noise == (0.0, 1.0)
    assert step.next is None


@pytest.mark.parametrize(
    ("kind", "sampler"), [("edm", "renoise"), ("edm", "deterministic"), ("v_prediction", "renoise")]
)
def test_a_usage_survives_json(kind, sampler):
    usage, _ = usage_of(student(kind), Sampler(sampler, even_levels(2)))
    adapter = TypeAdapter(Usage)
    assert adapter.validate_json(adapter.dump_json(usage)) == usage


def test_a_path_diffusers_does_not_know_is_refused():
    net = student("v_prediction", path=Trigonometric())
    with pytest.raises(ExportError, match=r"Trigonometric.*safetensors"):
        usage_of(net, Sampler("renoise", (1.0,)))
