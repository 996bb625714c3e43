"""Students of every family, exported: plain diffusers makes the preview's pictures, and so does the pipeline itself."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from backend.exports import Export, ExportError, adapters, diffusers_folder, export
from backend.exports.verify import TOLERANCE, Verification, verify_all
from backend.networks import Condition, Denoiser
from backend.networks.adapters import with_adapters
from backend.networks.experts import with_experts
from backend.networks.momentum import with_momentum
from backend.samplers import Sampler, start_level, student_levels
from backend.teachers import Teacher, load_teacher

from ..teachers import tiny
from .students import FACTS

Models = Callable[[str], Path]
SEED = 5


@dataclass(frozen=True)
class Case:
    """A student of a tiny model, and how it is used."""

    model: str
    kind: str = "renoise"
    steps: int = 2
    scheduler: str = "FlowMatchLCMScheduler"
    form: str = "scheduler"


CASES = {
    "dit": Case("dit", scheduler="LCMScheduler"),
    "sd": Case("sd", scheduler="LCMScheduler"),
    "sd one step": Case("sd", steps=1, scheduler="LCMScheduler"),
    "sd2": Case("sd2", steps=4, scheduler="LCMScheduler"),
    "sd2 ddim": Case("sd2", "deterministic", 4, "DDIMScheduler"),
    "sdxl": Case("sdxl", steps=4, scheduler="LCMScheduler", form="scheduler"),
    "sd3": Case("sd3", steps=4),
    "sd3 euler": Case("sd3", "deterministic", 4, "FlowMatchEulerDiscreteScheduler"),
    "sd3 without t5": Case("sd3-without-t5"),
    "pixart-alpha": Case("pixart-alpha", scheduler="LCMScheduler"),
    "pixart-alpha-sizes": Case("pixart-alpha-sizes", scheduler="LCMScheduler"),
    "pixart-sigma": Case("pixart-sigma", scheduler="LCMScheduler"),
    "sana": Case("sana"),
    "flux": Case("flux"),
    "flux euler": Case("flux", "deterministic", 3, "FlowMatchEulerDiscreteScheduler"),
    "flux-schnell": Case("flux-schnell", steps=1, scheduler="FlowMatchEulerDiscreteScheduler"),
}
every_case = pytest.mark.parametrize("name", CASES)


def student_of(case: Case, tiny_model: Models) -> tuple[Teacher, Denoiser, Sampler]:
    teacher = load_teacher(str(tiny_model(case.model)), prompts=tiny.PROMPTS)
    student = teacher.trainable()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(2)
        for weight in student.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.03)
    levels = student_levels(student.path, case.steps, start_level(student))
    if case.kind == "deterministic" and not hasattr(student.path, "shift"):
        levels = student.path.grid(case.steps)
    return teacher, student, Sampler(case.kind, levels)  # type: ignore[arg-type]


def written(case: Case, tiny_model: Models, out: Path) -> Export:
    teacher, student, sampler = student_of(case, tiny_model)
    cond = teacher.each_condition(4) if teacher.prompts else Condition.of_labels(torch.tensor([2, 0, 3, 1]))
    height, width = teacher.data_shape[1:]
    facts = replace(FACTS, picture=(height, width))
    return export("diffusers", student, sampler, cond, facts, out, SEED, teacher)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, tiny_model: Models) -> dict[str, Export]:
    root = tmp_path_factory.mktemp("pipelines")
    return {name: written(case, tiny_model, root / name.replace(" ", "-")) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def findings(exports: dict[str, Export]) -> dict[str, Verification]:
    return dict(zip(exports, verify_all([export.path for export in exports.values()]), strict=True))


@every_case
def test_plain_diffusers_makes_the_previews_pictures(
    name: str, exports: dict[str, Export], findings: dict[str, Verification]
) -> None:
    found = findings[name]
    assert found.problem == ""
    assert found.difference < TOLERANCE
    assert found.sound
    usage = json.loads((exports[name].path / "distill.json").read_text())["usage"]
    assert (usage["form"], usage["scheduler"]) == (CASES[name].form, CASES[name].scheduler)
    pictures = load_file(exports[name].path / "expected.safetensors")["samples"]
    assert pictures.std() > 0.05


@every_case
def test_the_pipelines_own_call_makes_them_as_the_card_says(name: str, exports: dict[str, Export]) -> None:
    folder = exports[name].path
    card = (folder / "README.md").read_text()
    if (
        name == "dit" or CASES[name].scheduler == "DDIMScheduler"
    ):  # the one draws its own noise, the other takes no times
        assert "own call" not in card
        return
    arguments = _arguments(card.split("own call makes such pictures too: `")[1].split("`")[0])
    if CASES[name].model in ("sana", "pixart-alpha-sizes"):
        return  # diffusers asks for larger pictures of these than ours are
    prompts = [tiny.PROMPTS[i % 3] for i in range(4)]
    generator = torch.Generator().manual_seed(SEED)
    made: Tensor = tiny.opened(folder)(prompts, generator=generator, output_type="pt", **arguments).images
    wanted = load_file(folder / "expected.safetensors")["samples"]
    if CASES[name].model.startswith(("sd3", "flux")) and CASES[name].scheduler == "FlowMatchLCMScheduler":
        assert made.shape == wanted.shape  # these pipelines draw the noise between steps from no generator
        return
    assert (2 * made - 1 - wanted).abs().max() < 2e-3


FAMILIES = ("dit", "sd", "sdxl", "sd3", "pixart-alpha-sizes", "pixart-sigma", "sana", "flux", "flux-schnell")


def told(student: Denoiser) -> Denoiser:
    """A student that is told where each step ends."""
    return _shaken(student.extended("end_time"), "numbers")


def in_phases(student: Denoiser) -> Denoiser:
    """Two networks, each for a part of the noise."""
    second = student.copy()
    with torch.no_grad():
        for weight in second.parameters():
            weight.mul_(1.05)
    return with_experts([student, second], [0.6])


def curved(student: Denoiser) -> Denoiser:
    """A student that answers with a mixture of velocities for a whole step."""
    return _shaken(with_momentum(student, 3), "profile")


def _shaken(student: Denoiser, part: str) -> Denoiser:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if f".{part}." in name:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
    return student


@pytest.fixture(scope="module")
def by_step(tmp_path_factory: pytest.TempPathFactory, tiny_model: Models) -> dict[str, Verification]:
    """Of each family and kind of student whose network is not the same at every step: what plain diffusers made."""
    root, found = tmp_path_factory.mktemp("by-step"), {}
    for model in FAMILIES:
        for kind in (told, in_phases, curved):
            teacher, student, sampler = student_of(Case(model), tiny_model)
            more = kind(student)
            sampler = replace(sampler, kind="momentum") if kind is curved else sampler
            cond = teacher.each_condition(2) if teacher.prompts else Condition.of_labels(torch.tensor([2, 0]))
            out = root / f"{model}-{kind.__name__}"
            found[f"{model} {kind.__name__}"] = export("diffusers", more, sampler, cond, FACTS, out, SEED, teacher).path
    return dict(zip(found, verify_all(list(found.values())), strict=True))


@pytest.mark.parametrize("kind", ["told", "in_phases", "curved"])
@pytest.mark.parametrize("model", FAMILIES)
def test_plain_diffusers_makes_the_pictures_of_students_with_something_for_each_step(
    model: str, kind: str, by_step: dict[str, Verification]
) -> None:
    found = by_step[f"{model} {kind}"]
    assert found.sound, found.sentence


@pytest.mark.parametrize("kind", [told, in_phases, curved])
def test_one_file_of_such_a_student_holds_its_weights_and_promises_nothing(
    kind: Callable[[Denoiser], Denoiser], tiny_model: Models, tmp_path: Path
) -> None:
    teacher, student, sampler = student_of(Case("sd"), tiny_model)
    cond, out = teacher.each_condition(1), tmp_path / "student.safetensors"
    done = export("safetensors", kind(student), sampler, cond, FACTS, out, SEED, teacher)
    assert done.promise is None
    assert "nothing was checked" in done.unchecked


@pytest.mark.parametrize("kind", [in_phases, curved])
def test_adapters_of_such_a_student_do_not_leave_alone(
    kind: Callable[[Denoiser], Denoiser], tiny_model: Models, tmp_path: Path
) -> None:
    teacher, student, sampler = student_of(Case("sd"), tiny_model)
    net = kind(with_adapters(student, 2))
    with pytest.raises(ExportError, match="more than one network with adapters"):
        export("lora", net, sampler, teacher.each_condition(1), FACTS, tmp_path / "out", SEED, teacher)


def _arguments(call: str) -> dict[str, Any]:
    parsed = ast.parse(call, mode="eval").body
    assert isinstance(parsed, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in parsed.keywords}


def test_everything_a_pipeline_needs_goes_along_and_nothing_that_runs(tiny_model: Models, tmp_path: Path) -> None:
    teacher, student, sampler = student_of(CASES["sdxl"], tiny_model)
    strange = Path(str(teacher.folder)) / "vae" / "modeling.py"
    strange.write_text("raise SystemExit")
    try:
        done = export("diffusers", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "out", 0, teacher)
    finally:
        strange.unlink()
    parts = {file.relative_to(done.path).parts[0] for file in done.path.rglob("*") if file.is_file()}
    assert parts >= {"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"}
    assert {f.suffix for f in done.path.rglob("*") if f.is_file()} <= {
        ".json",
        ".txt",
        ".safetensors",
        ".md",
        ".py",
        ".png",
    }
    assert [f.name for f in done.path.rglob("*.py")] == ["sample.py"]
    assert "text-to-image" in (done.path / "README.md").read_text()


def test_a_student_of_adapters_is_exported_whole(tiny_model: Models, tmp_path: Path) -> None:
    teacher, _, sampler = student_of(CASES["sd"], tiny_model)
    student = with_adapters(teacher.denoiser, rank=2)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if "lora_B" in name:
                weight.add_(0.1)
    done = export("diffusers", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "out", 0, teacher)
    keys = load_file(done.path / "unet" / "diffusion_pytorch_model.safetensors").keys()
    assert not any("lora" in key for key in keys)
    plain = diffusers_folder.write(
        teacher.trainable(), sampler, teacher.each_condition(2), FACTS, tmp_path / "plain", 0, teacher
    )
    assert done.digest != plain.digest
    (found,) = verify_all([done.path])
    assert found.sound


def test_a_teacher_that_has_moved_is_a_sentence(tiny_model: Models, tmp_path: Path) -> None:
    teacher, student, sampler = student_of(CASES["sd"], tiny_model)
    gone = replace(teacher, folder=tmp_path / "gone")
    with pytest.raises(ValueError, match="does not exist"):
        export("diffusers", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "out", 0, gone)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ExportError, match="as safetensors"):
        export("diffusers", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "out", 0)


ADAPTED = ("sd", "sdxl", "sd3", "sana", "flux")


@dataclass(frozen=True)
class Lora:
    """An export of adapters alone, with the pictures that its teacher makes without them."""

    export: Export
    plain: Tensor


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory, tiny_model: Models) -> dict[str, Lora]:
    root = tmp_path_factory.mktemp("loras")
    made = {}
    for name in ADAPTED:
        teacher, _, sampler = student_of(CASES[name], tiny_model)
        student = with_adapters(teacher.denoiser, rank=2, alpha=4)
        with torch.no_grad():
            for key, weight in student.named_parameters():
                if "lora_B" in key:
                    weight.add_(0.05)
        cond = teacher.each_condition(2)
        done = export("lora", student, sampler, cond, FACTS, root / name, SEED, teacher)
        made[name] = Lora(done, diffusers_folder.expected(teacher.denoiser, sampler, cond, SEED, teacher))
    return made


@pytest.fixture(scope="module")
def lora_findings(loras: dict[str, Lora]) -> dict[str, Verification]:
    return dict(zip(loras, verify_all([lora.export.path for lora in loras.values()]), strict=True))


@pytest.mark.parametrize("name", ADAPTED)
def test_adapters_alone_make_the_previews_pictures_on_the_untouched_teacher(
    name: str, loras: dict[str, Lora], lora_findings: dict[str, Verification]
) -> None:
    done, found = loras[name].export, lora_findings[name]
    assert done.format == "lora"
    assert found.problem == ""
    assert found.difference < TOLERANCE
    assert found.sound
    assert (load_file(done.path / "expected.safetensors")["samples"] - loras[name].plain).abs().max() > 1e-3
    assert not list(done.path.rglob("diffusion_pytorch_model*"))
    assert (done.path / adapters.KOHYA).exists() == (name in ("sd", "sdxl"))
    if name in ("sd", "sdxl"):
        ours, kohya = (load_file(done.path / file) for file in (adapters.DIFFUSERS, adapters.KOHYA))
        assert sum(key.endswith(".alpha") for key in kohya) == len(ours) // 2
        assert all(key.startswith("lora_unet_") for key in kohya)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_kohyas_file_makes_the_previews_pictures_on_the_untouched_teacher(name: str, loras: dict[str, Lora]) -> None:
    place = loras[name].export.path
    sheet = json.loads((place / "distill.json").read_text())["sheet"]
    text = (place / "sample.py").read_text(encoding="utf-8")
    assert text.count(adapters.DIFFUSERS) == 1
    scope: dict[str, Any] = {"__name__": "sample"}
    exec(text.replace(adapters.DIFFUSERS, adapters.KOHYA), scope)
    made = scope["sample"](str(place), sheet["prompts"], sheet["seed"])
    expected = load_file(place / "expected.safetensors")["samples"]
    assert (made - expected).abs().max() < 1e-4
    assert (made - loras[name].plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["pixart-alpha", "pixart-sigma", "dit"])
def test_adapters_that_diffusers_cannot_load_are_refused(name: str, tiny_model: Models, tmp_path: Path) -> None:
    teacher, _, sampler = student_of(CASES[name], tiny_model)
    student = with_adapters(teacher.denoiser, rank=2)
    words = r"^(PixArt-alpha|PixArt-Sigma|DiT) takes no LoRA in diffusers; export the student as diffusers or safetens"
    with pytest.raises(ExportError, match=words):
        export("lora", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "out", SEED, teacher)
    assert not (tmp_path / "out").exists()


def test_a_lora_has_no_place_for_the_guidance_that_a_student_is_told(tiny_model: Models, tmp_path: Path) -> None:
    teacher = load_teacher(str(tiny_model("sd")), prompts=tiny.PROMPTS)
    student = with_adapters(teacher.denoiser, 2).extended("guidance")
    sampler = Sampler("deterministic", student.path.grid(2), 3.0)
    with pytest.raises(ExportError, match="is told its guidance by layers of its own beside the adapters"):
        export("lora", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "lora", SEED, teacher)
    assert not (tmp_path / "lora").exists()
    done = export("diffusers", student, sampler, teacher.each_condition(2), FACTS, tmp_path / "all", SEED, teacher)
    assert done.path.is_dir()
