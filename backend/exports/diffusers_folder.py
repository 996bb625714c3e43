"""A student as a diffusers folder that makes the preview's pictures without this program.

```
unet/, scheduler/, model_index.json   what diffusers reads; of a student of latents also the teacher's autoencoder,
                                      tokenizers and text encoders
unet_2/, steps.safetensors, momentum.safetensors   what a student has beside one network (`by_step`)
sample.py                             the few lines that use it (`sample_script`)
expected.safetensors, samples.png     the pictures they must make
README.md                             the model card
pytorch_lora_weights.safetensors, kohya.safetensors   instead of networks, where adapters are exported alone, or
                                      adapter_model.safetensors, adapter_config.json of a U-Net of pixels
distill.json                          recipe, sampler, use and hashes, for `verify` and for other programs
```

Where no pipeline class of diffusers uses a student rightly, `model_index.json` names DDPMPipeline, which loads network
and scheduler but whose own call does not take class labels or levels; `sample.py` is the way to use it.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path as FilePath
from typing import Any

import torch
from diffusers import ConsistencyModelPipeline, DDPMPipeline
from diffusers.utils import numpy_to_pil
from PIL import Image
from torch import Tensor

from backend.exports import Export, ExportError, Facts, Format, pipeline_parts
from backend.exports import adapters as lora
from backend.exports.by_step import MOMENTUM, STEPS, ByStep, by_step, first_network, refuse
from backend.exports.model_card import model_card
from backend.exports.pipelines import FamilyKey
from backend.exports.sample_script import Sheet, script
from backend.exports.writing import file_hash, metadata, save_weights, written
from backend.networks import Condition, Denoiser
from backend.networks.adapters import merged
from backend.networks.dit import DiT
from backend.networks.gates import settled
from backend.networks.steering import negative_prompt
from backend.networks.told import module_of
from backend.networks.unet2d import UNet2D
from backend.samplers import Sampler, normal, sample
from backend.teachers import Teacher
from backend.teachers.layouts import Layout, layout

VERSION = 1  # of distill.json
STEM = "diffusion_pytorch_model"
SMALLEST_SHEET_SIDE = 64  # pixels a picture has at least on the sample sheet
SHEET_GAP = 1 / 16  # between two of them, as a part of one


def write(
    student: Denoiser,
    sampler: Sampler,
    cond: Condition,
    facts: Facts,
    out: FilePath,
    seed: int = 0,
    teacher: Teacher | None = None,
    alone: bool = False,
) -> Export:
    """Writes the folder `out`, complete or not at all; the student itself is left as it is.

    cond, seed: what the sample sheet shows, and what `verify` will ask for. teacher: of a student of latents, whose
    other parts go along. alone: of a student with adapters these alone, for the teacher where it lies. Raises
    `ExportError` where diffusers has no place for the student, or no scheduler, or `out` is taken or cannot be written.
    """
    student = settled(student, sampler.guidance)
    model = _model_of(student, teacher)
    base = model.folder if model else teacher.folder if teacher else None
    adapters = student
    if alone:
        lora.refuse(student, model, teacher)
    whole = merged(student).to("cpu", torch.float32).eval()
    refuse(whole, sampler)
    pictures = expected(whole, sampler, cond, seed, teacher)
    parts = by_step(whole, sampler)
    student = parts.student
    usage, module = parts.usage(sampler, untouched=alone)
    sheet = sheet_of(student, sampler, cond, seed, model, teacher)
    if alone and base is not None:
        sheet = replace(sheet, base=str(base.absolute()))
    weights = lora.file_of(model) if alone else f"{model.family.folder if model else 'unet'}/{STEM}.safetensors"
    with written(out) as draft:
        draft.mkdir()
        scheduler = usage.new_scheduler()
        scheduler.save_pretrained(draft / "scheduler")
        header = metadata(student, sampler, facts)
        if alone:
            lora.save(adapters, model, draft, header)
        else:
            if model is not None:
                pipeline_parts.write(model, usage.scheduler, draft)
            else:
                pipeline = ConsistencyModelPipeline if usage.form == "pipeline" else DDPMPipeline
                pipeline(module, scheduler).save_config(draft)
            _save_network(draft / weights, module, header)
            _save_rest(draft, weights, parts, header)
        text = script(usage, sheet)
        (draft / "sample.py").write_text(text, encoding="utf-8")
        save_weights({"samples": pictures}, draft / "expected.safetensors", {"seed": str(seed)})
        sheet_image(pictures).save(draft / "samples.png")
        card = model_card(facts, usage, sampler, sheet, _hashes(draft))
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
            "adapters": facts.adapters,
            "prediction_type": student.prediction_type,
            "sampler": sampler.to_json(),
            "usage": usage.to_json(),
            "sheet": asdict(sheet),
            "hashes": hashes,
        }
        (draft / "distill.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    form: Format = "lora" if alone else "diffusers"
    return Export(out, form, {**hashes, "distill.json": file_hash(out / "distill.json")}, hashes[weights])


def _model_of(student: Denoiser, teacher: Teacher | None) -> Layout | None:
    """The teacher's folder, whose parts go along; None for a student of pixels. Raises `ExportError`."""
    if isinstance(first_network(student.network), UNet2D):
        return None
    if teacher is None or teacher.folder is None:
        raise ExportError(
            "This student makes vectors, for which diffusers has no pipeline; export its weights as safetensors. "
            "Students of picture teachers can be exported as diffusers."
        )
    return layout(teacher.folder)


def sheet_of(
    student: Denoiser, sampler: Sampler, cond: Condition, seed: int, model: Layout | None, teacher: Teacher | None
) -> Sheet:
    """What the pictures of `cond` are asked for by. Raises `ExportError` where it needs classes and there are none."""
    shape, count, labels = student.shape, len(cond), _labels(student, cond)
    sheet = Sheet(shape, count, labels, seed)
    if model is not None and teacher is not None:
        prompts = teacher.each_prompt(count) or None
        family: FamilyKey = model.family.key  # type: ignore[assignment]
        left_out = pipeline_parts.left_out(model)
        sheet = Sheet(shape, count, labels, seed, prompts, family, model.picture, left_out)
    return replace(sheet, negative=negative_prompt(student), away=sampler.away) if sampler.away else sheet


def _labels(student: Denoiser, cond: Condition) -> tuple[int, ...] | None:
    """The class labels of the sheet, None for a network that takes none."""
    network: Any = student.network
    if not _takes_labels(network):
        return None
    if cond.labels is not None:
        return tuple(cond.labels.tolist())
    if network.null_label is None:
        raise ExportError("This student needs a class label for each picture; name the classes of the sample sheet.")
    return (int(network.null_label),) * len(cond)


def _takes_labels(network: Any) -> bool:
    return isinstance(network, DiT) or (isinstance(network, UNet2D) and network.unet.class_embedding is not None)


def expected(student: Denoiser, sampler: Sampler, cond: Condition, seed: int, teacher: Teacher | None = None) -> Tensor:
    """The preview's pictures (B, C, H, W), clipped to [-1, 1], from the noise of `seed`."""
    generator = torch.Generator().manual_seed(seed)
    noise = normal((len(cond), *student.shape), generator)
    samples = sample(student, sampler, noise, cond.to("cpu"), generator)
    if teacher is not None:
        with torch.no_grad():
            samples = teacher.codec.decode(samples)
    return samples.clamp(-1, 1).contiguous()


def _save_network(file: FilePath, module: Any, header: dict[str, str]) -> None:
    module.save_config(file.parent)
    # Not save_pretrained, which leaves no room for our header.
    weights = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    save_weights(weights, file, header)


def _save_rest(folder: FilePath, weights: str, parts: ByStep, header: dict[str, str]) -> None:
    """What the student has beside its first network, under the names that `sample.py` reads."""
    name, file = weights.split("/")
    for number, network in enumerate(parts.others, 2):
        _save_network(folder / f"{name}_{number}" / file, module_of(network), header)
    for kept, own in ((STEPS, parts.own), (MOMENTUM, parts.momentum)):
        if own is not None:
            save_weights({key: tensor.contiguous() for key, tensor in own.items()}, folder / kept, header)


def _hashes(folder: FilePath) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file_hash(file) for file in files}


def sheet_image(pictures: Tensor) -> Image.Image:
    """The pictures (B, C, H, W) in rows of up to ten, small ones enlarged so that they can be seen.

    Between them is nothing, so that each is seen for itself on a page of any colour.
    """
    images = numpy_to_pil((pictures.permute(0, 2, 3, 1).numpy() + 1) / 2)
    factor = -(-SMALLEST_SHEET_SIDE // min(images[0].size))
    images = [i.resize((i.width * factor, i.height * factor), Image.Resampling.NEAREST) for i in images]
    columns = min(10, len(images))
    width, height = images[0].size
    gap = max(1, round(width * SHEET_GAP))
    rows = -(-len(images) // columns)
    grid: Image.Image = Image.new("RGBA", (columns * (width + gap) - gap, rows * (height + gap) - gap))
    for number, image in enumerate(images):
        grid.paste(image, (number % columns * (width + gap), number // columns * (height + gap)))
    return grid
