"""Exports of every kind of student, checked by one fresh process with plain diffusers."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.exports import Export, ExportError, diffusers_folder
from backend.exports.verify import TOLERANCE, Verification, verify, verify_all
from backend.networks import Condition, Denoiser
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving, cosine_betas, zero_terminal_snr
from backend.samplers import Sampler, even_levels

from .students import FACTS, student, unet_of

COND = Condition.of_labels(torch.tensor([0, 3, 9]))


def on_grid(steps: int) -> tuple[float, ...]:
    """Trailing levels, on the whole numbers of a table of 1,000."""
    return VariancePreserving.of_betas(cosine_betas()).grid(steps)


def zero_snr() -> VariancePreserving:
    table = VariancePreserving.of_betas(cosine_betas()).alphas_cumprod
    return VariancePreserving(zero_terminal_snr(table))


def vp(kind: str, gain: float = 1.3) -> Callable[[], Denoiser]:
    return lambda: student(kind, gain)  # type: ignore[arg-type]


def edm(gain: float = 1.0, **more: object) -> Callable[[], Denoiser]:
    return lambda: student("edm", gain, **more)  # type: ignore[arg-type]


def flow(gain: float = 1.3, **more: object) -> Callable[[], Denoiser]:
    return lambda: student("flow", gain, **more)  # type: ignore[arg-type]


def every_frequency() -> Denoiser:
    net = student("edm", 1.3)
    with torch.no_grad():
        unet_of(net).time_embedding.linear_1.weight.normal_(generator=torch.Generator().manual_seed(1))
    return net


# name: (student, sampler kind, levels, expected form, expected scheduler)
CM, EULER, FORMULA = "CMStochasticIterativeScheduler", "EDMEulerScheduler", "formula"
CASES: dict[str, tuple[Callable[[], Denoiser], str, tuple[float, ...], str, str]] = {
    "edm 1 step": (edm(), "renoise", (1.0,), "pipeline", CM),
    "edm 1 step large": (edm(1.3), "deterministic", (1.0,), "pipeline", CM),
    "edm 1 step lower": (edm(1.3), "renoise", (0.7,), "pipeline", CM),
    "edm 2 steps": (edm(1.3), "renoise", even_levels(2), "pipeline", CM),
    "edm 4 steps": (edm(1.3), "renoise", even_levels(4), "pipeline", CM),
    "edm 2 steps no class": (edm(1.3, conditional=False), "renoise", even_levels(2), "pipeline", CM),
    "edm odd levels": (edm(1.3), "renoise", (1.0, 0.83, 0.519, 0.41, 0.2222, 0.031), FORMULA, EULER),
    "edm all frequencies": (every_frequency, "renoise", even_levels(2), FORMULA, EULER),
    "edm euler 2 steps": (edm(1.3), "deterministic", even_levels(2), "scheduler", EULER),
    "edm euler 4 steps": (edm(1.3), "deterministic", even_levels(4), "scheduler", EULER),
    "edm euler wide": (
        edm(1.3, path=VarianceExploding(0.002, 80.0)),
        "deterministic",
        even_levels(4),
        "scheduler",
        EULER,
    ),
    "edm exponential 1 step": (
        edm(1.3, path=VarianceExploding(0.02, 20.0, math.inf)),
        "renoise",
        (1.0,),
        "pipeline",
        CM,
    ),
    "edm exponential euler": (
        edm(1.3, path=VarianceExploding(0.02, 20.0, math.inf)),
        "deterministic",
        even_levels(2),
        FORMULA,
        EULER,
    ),
    "v 1 step": (vp("v_prediction"), "renoise", (1.0,), "scheduler", "LCMScheduler"),
    "v 4 steps": (vp("v_prediction"), "renoise", on_grid(4), "scheduler", "LCMScheduler"),
    "v between": (vp("v_prediction"), "renoise", even_levels(4), FORMULA, "LCMScheduler"),
    "v zero snr": (
        lambda: student("v_prediction", 1.3, path=zero_snr()),
        "renoise",
        on_grid(2),
        "scheduler",
        "LCMScheduler",
    ),
    "v ddim 2 steps": (vp("v_prediction"), "deterministic", on_grid(2), "scheduler", "DDIMScheduler"),
    "v ddim 4 steps": (vp("v_prediction"), "deterministic", on_grid(4), "scheduler", "DDIMScheduler"),
    "v ddim 3 steps": (vp("v_prediction"), "deterministic", on_grid(3), FORMULA, "DDIMScheduler"),
    "x0 1 step": (vp("sample"), "renoise", (1.0,), "scheduler", "LCMScheduler"),
    "x0 2 steps": (vp("sample"), "renoise", on_grid(2), "scheduler", "LCMScheduler"),
    "x0 ddim 2 steps": (vp("sample"), "deterministic", on_grid(2), "scheduler", "DDIMScheduler"),
    "epsilon 1 step": (vp("epsilon"), "renoise", (1.0,), FORMULA, "LCMScheduler"),
    "epsilon lower": (vp("epsilon"), "renoise", (699 / 999,), "scheduler", "LCMScheduler"),
    "epsilon lower 2 steps": (vp("epsilon"), "renoise", (699 / 999, 349 / 999), "scheduler", "LCMScheduler"),
    "epsilon 4 steps": (vp("epsilon", 1.0), "renoise", on_grid(4), FORMULA, "LCMScheduler"),
    "epsilon ddim 4 steps": (vp("epsilon", 1.0), "deterministic", on_grid(4), FORMULA, "DDIMScheduler"),
    "flow 1 step": (flow(), "renoise", (1.0,), "scheduler", "FlowMatchEulerDiscreteScheduler"),
    "flow 4 steps": (flow(), "renoise", even_levels(4), "scheduler", "FlowMatchLCMScheduler"),
    "flow 2 steps shifted": (
        flow(path=FlowMatching(3.0)),
        "renoise",
        (1.0, 0.37),
        "scheduler",
        "FlowMatchLCMScheduler",
    ),
    "flow euler 2 steps": (flow(), "deterministic", even_levels(2), "scheduler", "FlowMatchEulerDiscreteScheduler"),
    "flow euler shifted": (
        flow(path=FlowMatching(3.0)),
        "deterministic",
        even_levels(4),
        "scheduler",
        "FlowMatchEulerDiscreteScheduler",
    ),
}

Exports = dict[str, Export]
Findings = dict[str, Verification]


def export_case(name: str, folder: Path) -> Export:
    make, kind, levels, _, _ = CASES[name]
    net = make()
    cond = COND if net.network.null_label is not None else Condition.none(3)
    return diffusers_folder.write(net, Sampler(kind, levels), cond, FACTS, folder, seed=5)  # type: ignore[arg-type]


def about(folder: Path) -> Any:
    return json.loads((folder / "distill.json").read_text())


def edit(file: Path, **settings: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def flip_weight(folder: Path) -> None:
    """One bit of one weight: the top exponent bit of the last number in the file."""
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x40
    file.write_bytes(content)


def flip_header(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 2**40) + content[8:])


# name: (the export that is broken, what breaks it, the file that verify must name)
BROKEN: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "weights": ("edm 1 step", flip_weight, "unet/diffusion_pytorch_model.safetensors"),
    "header": ("edm 1 step", flip_header, "unet/diffusion_pytorch_model.safetensors"),
    "sigma_data": (
        "edm 1 step",
        lambda folder: edit(folder / "scheduler" / "scheduler_config.json", sigma_data=0.6),
        "scheduler/scheduler_config.json",
    ),
    "sigma_min": (
        "edm 2 steps",
        lambda folder: edit(folder / "scheduler" / "scheduler_config.json", sigma_min=0.02),
        "scheduler/scheduler_config.json",
    ),
    "prediction type": (
        "v 1 step",
        lambda folder: edit(folder / "scheduler" / "scheduler_config.json", prediction_type="sample"),
        "scheduler/scheduler_config.json",
    ),
    "shift": (
        "flow euler shifted",
        lambda folder: edit(folder / "scheduler" / "scheduler_config.json", shift=1.0),
        "scheduler/scheduler_config.json",
    ),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    root = tmp_path_factory.mktemp("exports")
    return {name: export_case(name, root / name.replace(" ", "-")) for name in CASES}


@pytest.fixture(scope="module")
def findings(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """One fresh process for everything, since importing diffusers is what takes the time."""
    root = tmp_path_factory.mktemp("broken")
    folders = {name: export.path for name, export in exports.items()}
    for name, (of, breaks, _) in BROKEN.items():
        folders[f"broken {name}"] = root / name.replace(" ", "-")
        shutil.copytree(exports[of].path, folders[f"broken {name}"])
        breaks(folders[f"broken {name}"])
    scripted = root / "scripted"
    shutil.copytree(exports["edm 1 step"].path, scripted)
    (scripted / "sample.py").write_text("raise SystemExit('this must never run')\n")
    folders["scripted"] = scripted
    return dict(zip(folders, verify_all(list(folders.values())), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_plain_diffusers_makes_the_previews_pictures(name, exports, findings):
    found = findings[name]
    assert found.problem == ""
    assert found.difference < TOLERANCE
    assert found.sound


@pytest.mark.parametrize("name", CASES)
def test_each_student_gets_its_form_and_scheduler(name, exports):
    usage = about(exports[name].path)["usage"]
    assert (usage["form"], usage["scheduler"]) == CASES[name][3:]


@pytest.mark.parametrize("name", ["edm 1 step large", "v 4 steps", "flow 4 steps", "x0 2 steps"])
def test_the_pictures_compared_are_not_flat(name, exports):
    from safetensors.torch import load_file

    pictures = load_file(exports[name].path / "expected.safetensors")["samples"]
    assert pictures.std() > 0.1
    assert (pictures.abs() < 1).float().mean() > 0.2


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "header"])
def test_a_broken_export_makes_other_pictures(name, findings):
    found = findings[f"broken {name}"]
    assert not found.same_pictures
    assert BROKEN[name][2] in found.changed


def test_a_damaged_file_is_a_problem_with_a_sentence(findings):
    found = findings["broken header"]
    assert found.problem
    assert not found.sound
    assert "Export the student again" in found.sentence


def test_a_changed_script_is_reported_and_never_run(findings):
    found = findings["scripted"]
    assert found.same_pictures
    assert found.changed == ("sample.py",)
    assert not found.sound


def test_data_that_would_become_code_is_refused(exports, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exports["edm 1 step"].path, folder)
    content = about(folder)
    content["sheet"] = {**content["sheet"], "seed": "0); raise SystemExit("}
    (folder / "distill.json").write_text(json.dumps(content))
    with pytest.raises(ExportError, match="damaged"):
        verify(folder)


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no export"):
        verify(tmp_path)
