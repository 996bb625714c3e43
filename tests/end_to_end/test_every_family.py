"""A tiny model of every family in and out by the command line: looked at, checked, trained, compared, exported.

    pytest -m long -n 0 tests/end_to_end/test_every_family.py

prints a table of the largest differences that fresh processes found.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image
from safetensors import safe_open

from backend.exports.adapters import LOADABLE
from backend.teachers.layouts import layout

from ..backend.teachers import tiny
from ..conftest import Answer

Distill = Callable[..., Answer]
NEAR = 1e-5
FEW = {"steps": 2, "batch_size": 2, "preview_every": 0, "checkpoint_every": 0, "threads": 1}
PIXELS: dict[str, tuple[Any, Any]] = {
    "ddpm": (DDPMPipeline, DDPMScheduler(clip_sample=False)),
    "ddim": (DDIMPipeline, DDIMScheduler(clip_sample=False)),
}
UNGUIDED = (*PIXELS, "flux", "flux-schnell")
"""Without an unconditional mode."""


def pixel_unet(name: str, folder: Path) -> Path:
    """A UNet2DModel with the scheduler that pipelines of its kind have."""
    pipeline, scheduler = PIXELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet2DModel(
            sample_size=16, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
    pipeline(tiny.stirred(net), scheduler).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, dict[str, float]]]:
    """By family and format: the difference that a fresh process found."""
    made: dict[str, dict[str, float]] = {}
    yield made
    print()  # after the last family
    for name, found in made.items():
        print(f"{name:<20}" + "".join(f"  {form} {difference:.1e}" for form, difference in found.items()))


@pytest.mark.long
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", [*PIXELS, *tiny.FAMILIES])
def test_in_and_out(
    name: str, tmp_path: Path, distill: Distill, monkeypatch: pytest.MonkeyPatch, rows: dict[str, dict[str, float]]
) -> None:
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    model = pixel_unet(name, tmp_path) if name in PIXELS else tiny.write(name, tmp_path)
    (tmp_path / "prompts.txt").write_text("\n".join(tiny.PROMPTS), encoding="utf-8")

    def said(*arguments: object) -> Any:
        answer = distill(*arguments, "--json")
        assert answer.status == 0, answer.err
        return answer.json

    looked_at = said("teachers", model)
    assert looked_at["parameters"] > 0
    assert "dmd2" in looked_at["methods"]
    project = tmp_path / "family.distill"
    said("new", project)
    adapters = name not in PIXELS and layout(model).family.key in LOADABLE
    rows[name] = {}
    for run, kind in enumerate(["full", "lora"] if adapters else ["full"], 1):
        recipe = tmp_path / f"{kind}.json"
        about: dict[str, Any] = {
            "teacher": str(model),
            "method": "dmd2",
            "training": FEW,
            "student": {"kind": kind, "rank": 4},
        }
        about["settings"] = {"student_steps": 2, **({} if name in UNGUIDED else {"guidance_scale": 3.0})}
        if looked_at["condition"] == "text":
            about["prompts"] = str(tmp_path / "prompts.txt")
        recipe.write_text(json.dumps(about))
        found = said("preflight", project, "--recipe", recipe)
        assert found["ok"]
        assert found["parameters"] == looked_at["parameters"]
        assert found["memory"] > 0
        assert said("run", project, "--recipe", recipe)["state"] == "finished"
        for form in ("diffusers", "lora") if kind == "lora" else ("diffusers", "safetensors"):
            out = tmp_path / f"{kind}-{form}{'.safetensors' if form == 'safetensors' else ''}"
            done = said("export", project, run, "--format", form, "--out", out)
            if form == "safetensors":
                assert _headers(out)["modelspec.sai_model_spec"] == "1.0.0"
                is_whole = name not in PIXELS and layout(model).family.key in ("sd", "sdxl")
                assert ("max_abs_difference" in done, "unchecked" in done) == (is_whole, not is_whole)
                if not is_whole:
                    continue
            rows[name][f"{kind}, {form}"] = done["max_abs_difference"]
            assert done["max_abs_difference"] < NEAR
    said("compare", project, "1", "--out", tmp_path / "compare.png", "--teacher-nfe", 2)
    with Image.open(tmp_path / "compare.png") as picture:
        assert len(picture.convert("RGB").getcolors(10**6) or ()) > 100
    if not adapters:
        refused = distill("export", project, 1, "--format", "lora", "--out", tmp_path / "refused")
        assert refused.status == 2
        assert "there is no LoRA to export" in refused.err


def _headers(file: Path) -> dict[str, str]:
    file = file if file.is_file() else next(file.rglob("*.safetensors"))
    with safe_open(file, framework="pt") as opened:
        return dict(opened.metadata())
