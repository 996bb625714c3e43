"""A student as a diffusers folder that makes the preview's pictures without this program.

```
unet/, scheduler/, model_index.json   what diffusers reads
sample.py                             the few lines that use it (`sample_script`)
expected.safetensors, samples.png     the pictures they must make
README.md                             the model card
distill.json                          recipe, sampler, use and hashes, for `verify` and for other programs
```

Where no pipeline class of diffusers uses a student rightly, `model_index.json` names DDPMPipeline, which loads network
and scheduler but whose own call does not take class labels or levels; `sample.py` is the way to use it.
"""

import copy
import json
from dataclasses import asdict
from pathlib import Path as FilePath

import torch
from diffusers import ConsistencyModelPipeline, DDPMPipeline, UNet2DModel
from diffusers.utils import make_image_grid, numpy_to_pil
from PIL import Image
from torch import Tensor

from backend.exports import Export, ExportError, Facts
from backend.exports.model_card import model_card
from backend.exports.sample_script import Sheet, script
from backend.exports.usage import Usage, usage_of
from backend.exports.writing import file_hash, metadata, save_weights, written
from backend.networks import Condition, Denoiser
from backend.networks.unet2d import UNet2D
from backend.samplers import Sampler, normal, sample

VERSION = 1  # of distill.json
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
SMALLEST_SHEET_SIDE = 64  # pixels a picture has at least on the sample sheet


def write(student: Denoiser, sampler: Sampler, cond: Condition, facts: Facts, out: FilePath, seed: int = 0) -> Export:
    """Writes the folder `out`, complete or not at all; the student itself is left as it is.

    cond, seed: what the sample sheet shows, and what `verify` will ask for. Raises `ExportError` where the student is
    no picture network, diffusers has no scheduler for it, or `out` is taken or cannot be written.
    """
    if not isinstance(student.network, UNet2D):
        raise ExportError(
            "This student makes vectors, for which diffusers has no pipeline; export its weights as safetensors. "
            "Students of picture teachers can be exported as diffusers."
        )
    student = copy.deepcopy(student).to("cpu", torch.float32).eval()
    usage, unet = usage_of(student, sampler)
    sheet = _sheet(student, cond, seed)
    pictures = expected(student, sampler, sheet)
    with written(out) as draft:
        draft.mkdir()
        _save_model(draft, usage, unet, metadata(student, sampler, facts))
        text = script(usage, sheet)
        (draft / "sample.py").write_text(text, encoding="utf-8")
        save_weights({"samples": pictures}, draft / "expected.safetensors", {"seed": str(seed)})
        sheet_image(pictures).save(draft / "samples.png")
        card = model_card(facts, usage, sampler, text, seed, _hashes(draft))
        (draft / "README.md").write_text(card, encoding="utf-8")
        hashes = _hashes(draft)
        about = {
            "version": VERSION,
            "title": facts.title,
            "recipe": facts.recipe.model_dump(mode="json"),
            "method": {"title": facts.method, "paper": facts.paper},
            "teacher": {"title": facts.teacher, "digest": facts.teacher_digest, "licence": facts.licence},
            "step": facts.step,
            "labels": list(facts.labels),
            "prediction_type": student.prediction_type,
            "sampler": sampler.to_json(),
            "usage": usage.to_json(),
            "sheet": asdict(sheet),
            "hashes": hashes,
        }
        (draft / "distill.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Export(out, "diffusers", {**hashes, "distill.json": file_hash(out / "distill.json")}, hashes[WEIGHTS])


def _sheet(student: Denoiser, cond: Condition, seed: int) -> Sheet:
    shape, network = student.shape, student.network
    if network.unet.class_embedding is None:  # type: ignore[union-attr]
        return Sheet(shape, len(cond), None, seed)
    if cond.labels is not None:
        return Sheet(shape, len(cond), tuple(cond.labels.tolist()), seed)
    if network.null_label is None:
        raise ExportError("This student needs a class label for each picture; name the classes of the sample sheet.")
    return Sheet(shape, len(cond), (int(network.null_label),) * len(cond), seed)  # type: ignore[arg-type]


def expected(student: Denoiser, sampler: Sampler, sheet: Sheet) -> Tensor:
    """The preview's pictures (B, C, H, W), clipped to [-1, 1], from the noise of the sheet's seed."""
    generator = torch.Generator().manual_seed(sheet.seed)
    cond = Condition.none(sheet.count) if sheet.labels is None else Condition.of_labels(torch.tensor(sheet.labels))
    noise = normal((sheet.count, *sheet.shape), generator)
    return sample(student, sampler, noise, cond, generator).clamp(-1, 1)


def _save_model(folder: FilePath, usage: Usage, unet: UNet2DModel, header: dict[str, str]) -> None:
    scheduler = usage.new_scheduler()
    pipeline = ConsistencyModelPipeline if usage.form == "pipeline" else DDPMPipeline
    pipeline(unet, scheduler).save_config(folder)
    scheduler.save_pretrained(folder / "scheduler")
    unet.save_config(folder / "unet")
    # Not save_pretrained, which leaves no room for our header.
    weights = {name: tensor.contiguous() for name, tensor in unet.state_dict().items()}
    save_weights(weights, folder / WEIGHTS, header)


def _hashes(folder: FilePath) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file_hash(file) for file in files}


def sheet_image(pictures: Tensor) -> Image.Image:
    """The pictures (B, C, H, W) in rows of up to ten, small ones enlarged so that they can be seen."""
    images = numpy_to_pil((pictures.permute(0, 2, 3, 1).numpy() + 1) / 2)
    factor = -(-SMALLEST_SHEET_SIDE // min(images[0].size))
    images = [i.resize((i.width * factor, i.height * factor), Image.Resampling.NEAREST) for i in images]
    columns = min(10, len(images))
    blank = Image.new(images[0].mode, images[0].size)
    images += [blank] * (-len(images) % columns)
    grid: Image.Image = make_image_grid(images, rows=len(images) // columns, cols=columns)
    return grid
