"""`sample.py`: the few lines of plain diffusers that make the student's pictures.

The same text is the export's file, the snippet on its model card, and what `verify` runs in a fresh process. It is
made from data alone, so that `verify` can make it anew and never runs a text that came with a folder.
"""

from dataclasses import dataclass

from backend.exports.usage import Usage

_HEAD = '''"""Makes pictures with this student; needs torch and diffusers. Run it in its folder: python sample.py"""

import torch
from diffusers import {imports}
from diffusers.utils import make_image_grid, numpy_to_pil


@torch.no_grad()
def sample(folder, {argument}, seed):
    """Pictures {shape} in [-1, 1]{each}, from the noise of `seed`."""
    generator = torch.Generator().manual_seed(seed)
'''

_PIPELINE = """    pipe = ConsistencyModelPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(
        batch_size={count},{labels}
        num_inference_steps=None,
        timesteps={timesteps},
        generator=generator,
        output_type="pt",
    ).images
    return 2 * images - 1
"""

_LOOP = """    unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
    scheduler = {scheduler}.from_pretrained(folder, subfolder="scheduler")
    scheduler.set_timesteps({arguments})
    state = {start}torch.randn({count}, {size}, generator=generator)
    for t in scheduler.timesteps:
        output = unet({scaled}, t{labels}).sample
        result = scheduler.step(output, t, state{generator})
        state = result.prev_sample
    return {result}.clamp(-1, 1)
"""

_FORMULA = """    unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
    state = {start}torch.randn({count}, {size}, generator=generator)
    for step in STEPS:
        time = torch.full((len(state),), step["time"], dtype=torch.float64)
        output = unet(step["scale"] * state, time{labels}).sample
        x0 = step["x0"][0] * state + step["x0"][1] * output
        if step["next"]:
            noise = {noise}
            state = step["next"][0] * x0 + step["next"][1] * noise
    return x0.clamp(-1, 1)
"""

_TAIL = """

if __name__ == "__main__":
    pictures = sample(".", {example}, seed={seed})
    images = numpy_to_pil((pictures.permute(0, 2, 3, 1).numpy() + 1) / 2)
    make_image_grid(images, rows=1, cols=len(images)).save("pictures.png")
"""


@dataclass(frozen=True)
class Sheet:
    """The pictures an export promises: of `seed`, one per label, or `count` of them where there are no labels.

    shape: of one picture, (C, H, W).
    """

    shape: tuple[int, ...]
    count: int
    labels: tuple[int, ...] | None
    seed: int


def script(usage: Usage, sheet: Sheet) -> str:
    """The text of `sample.py`. It defines `sample(folder, labels or count, seed)`, which returns (B, C, H, W)."""
    conditional = sheet.labels is not None
    imports = {
        "pipeline": "ConsistencyModelPipeline",
        "scheduler": ", ".join(sorted(["UNet2DModel", usage.scheduler])),
        "formula": "UNet2DModel",
    }[usage.form]
    head = _HEAD.format(
        imports=imports,
        argument="labels" if conditional else "count",
        shape=f"(B, {', '.join(map(str, sheet.shape))})",
        each=", one for each class label" if conditional else "",
    )
    count = "len(labels)" if conditional else "count"
    tail = _TAIL.format(example=list(sheet.labels) if sheet.labels is not None else sheet.count, seed=sheet.seed)
    body = {"pipeline": _pipeline, "scheduler": _loop, "formula": _formula}[usage.form](usage, sheet, count)
    steps = _steps(usage) if usage.form == "formula" else ""
    return head.replace("\n\n\n@torch", f"{steps}\n\n\n@torch", 1) + body + tail


def _pipeline(usage: Usage, sheet: Sheet, count: str) -> str:
    labels = "\n        class_labels=labels," if sheet.labels is not None else ""
    return _PIPELINE.format(count=count, labels=labels, timesteps=usage.arguments["timesteps"])


def _loop(usage: Usage, sheet: Sheet, count: str) -> str:
    edm = usage.scheduler == "EDMEulerScheduler"
    arguments = {name: repr(value) for name, value in usage.arguments.items()}
    if edm:  # takes tensors only, and means places on its grid, 0 for sigma_max, by sigmas
        arguments["sigmas"] = f"torch.tensor({arguments['sigmas']}, dtype=torch.float64)"
    return _LOOP.format(
        scheduler=usage.scheduler,
        arguments=", ".join(f"{name}={value}" for name, value in arguments.items()),
        start="scheduler.sigmas[0] * " if edm else "",
        count=count,
        size=", ".join(map(str, sheet.shape)),
        scaled="scheduler.scale_model_input(state, t)" if edm else "state",
        labels=_labels(sheet),
        generator=", generator=generator" if usage.fresh else "",
        # EDM's last step subtracts and adds sigma's worth of noise; the prediction itself has not lost those digits.
        result="result.pred_original_sample" if edm else "state",
    )


def _formula(usage: Usage, sheet: Sheet, count: str) -> str:
    fresh = "torch.randn(state.shape, generator=generator)"
    return _FORMULA.format(
        start="" if usage.start == 1 else f"{usage.start!r} * ",
        count=count,
        size=", ".join(map(str, sheet.shape)),
        labels=_labels(sheet),
        noise=fresh if usage.fresh else 'step["noise"][0] * state + step["noise"][1] * output',
    )


def _labels(sheet: Sheet) -> str:
    return ", class_labels=torch.tensor(labels)" if sheet.labels is not None else ""


def _steps(usage: Usage) -> str:
    """The formula's numbers as a constant, one step after the other."""
    lines = [
        "",
        "",
        "# What the network is told; x0, noise and the next state as sums: (of state, of output), (of x0, of noise).",
        "STEPS = [",
    ]
    for step in usage.steps:
        lines.append("    {")
        for name in ("time", "scale", "x0", "noise", "next"):
            lines.append(f'        "{name}": {getattr(step, name)!r},')
        lines.append("    },")
    return "\n".join([*lines, "]"])
