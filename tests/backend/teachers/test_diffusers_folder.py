"""Folders as they are found: whole, broken and lying; and a folder's samples by plain diffusers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.judge import stored_figures
from backend.networks import Condition
from backend.noise import FlowMatching, VarianceExploding, VariancePreserving
from backend.samplers import Sampler, normal, sample, teacher_sampler
from backend.teachers import TeacherError, load_teacher
from backend.teachers.diffusers_folder import inspect, load

torch.set_num_threads(1)

WEIGHTS = "diffusion_pytorch_model.safetensors"


def tiny_unet(**settings: Any) -> UNet2DModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            **{
                "sample_size": 8,
                "in_channels": 1,
                "out_channels": 1,
                "block_out_channels": (8, 16),
                "layers_per_block": 1,
                "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
                "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
                "norm_num_groups": 4,
                "attention_head_dim": 8,
                **settings,
            }
        )
        for parameter in unet.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)  # no bias stays 0
    return unet


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    tiny_unet(num_class_embeds=4).save_pretrained(folder / "unet")
    diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing").save_pretrained(folder / "scheduler")
    about = {"title": "Tiny", "null_label": 3, "labels": ["a", "b", "c"], "licence": "none"}
    (folder / "teacher.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "teacher"))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / "unet" / WEIGHTS)
    change(weights)
    save_file(weights, folder / "unet" / WEIGHTS)


def tensors(folder: Path) -> dict[str, Tensor]:
    """The loaded network's, by diffusers' names."""
    state = load(folder, "tiny").denoiser.network.state_dict()
    return {name.removeprefix("unet."): tensor for name, tensor in state.items()}


# Whole folders.


def test_inspection_says_what_the_folder_holds(folder: Path) -> None:
    found = inspect(folder)
    assert found.kind == "UNet2DModel"
    assert found.parameters == sum(p.numel() for p in tiny_unet(num_class_embeds=4).parameters())
    assert isinstance(found.path, VariancePreserving)
    assert (found.prediction_type, found.shape, found.classes, found.null_label) == ("epsilon", (1, 8, 8), 4, 3)
    assert (found.title, found.licence, found.data, found.labels) == ("Tiny", "none", None, ("a", "b", "c"))
    assert found.notes == ()


def test_inspection_reads_no_weights(folder: Path) -> None:
    # Every number of the file is destroyed; its header is whole.
    file = folder / "unet" / WEIGHTS
    content = bytearray(file.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    content[header:] = b"\xff" * (len(content) - header)
    file.write_bytes(content)
    assert inspect(folder).parameters > 0


def test_loading_leaves_the_global_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load(folder, "tiny")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_loaded_teacher_is_frozen_and_its_trainable_copy_is_not(folder: Path) -> None:
    teacher = load(folder, "tiny")
    assert not any(p.requires_grad for p in teacher.denoiser.parameters())
    assert not teacher.denoiser.training
    copy = teacher.trainable()
    assert all(p.requires_grad for p in copy.parameters())
    for mine, theirs in zip(copy.parameters(), teacher.denoiser.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()


def test_digest_tells_weights_configs_and_null_labels_apart_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = load(folder, "tiny").digest
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    edit(moved / "unet" / "config.json", _diffusers_version="0.1", _name_or_path="elsewhere")
    edit(moved / "teacher.json", title="Other", labels=["x", "y", "z"])
    assert load(moved, "moved").digest == first
    edit(moved / "scheduler" / "scheduler_config.json", beta_end=0.019)
    second = load(moved, "moved").digest
    edit(folder / "teacher.json", null_label=None, labels=[])
    third = load(folder, "tiny").digest
    edit_weights(folder, lambda w: w["conv_in.bias"].add_(1e-6))
    assert len({first, second, third, load(folder, "tiny").digest}) == 4


def test_classes_without_names_are_numbered(folder: Path) -> None:
    (folder / "teacher.json").unlink()
    teacher = load(folder, "tiny")
    assert teacher.labels == ("0", "1", "2", "3")
    assert teacher.licence == "unknown"
    assert teacher.denoiser.null(teacher.each_condition(2)) is None


def test_an_unconditional_folder_of_one_level(tmp_path: Path) -> None:
    """As early pipelines lie on the hub: network and scheduler beside each other, clipped by default."""
    tiny_unet(sample_size=(8, 4)).save_pretrained(tmp_path)
    diffusers.DDPMScheduler().save_pretrained(tmp_path)
    found = inspect(tmp_path)
    assert (found.shape, found.classes, found.labels) == ((1, 8, 4), 0, ())
    assert "clips" in found.notes[0]
    teacher = load(tmp_path, str(tmp_path))
    x = normal((3, 1, 8, 4), torch.Generator().manual_seed(0))
    assert teacher.denoiser(x, torch.full((3,), 0.5), Condition.none(3)).x0.shape == (3, 1, 8, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_float32(folder: Path, dtype: torch.dtype) -> None:
    edit_weights(folder, lambda w: w.update({name: t.to(dtype) for name, t in w.items()}))
    parameters = tensors(folder)
    stored = load_file(folder / "unet" / WEIGHTS)
    for name, parameter in parameters.items():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, stored[name].float())


def test_attention_under_its_old_names(folder: Path) -> None:
    new = tensors(folder)

    def rename(weights: dict[str, Tensor]) -> None:
        for name in [n for n in weights if ".to_" in n]:
            old = name
            for now, then in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
                old = old.replace(f".{now}.", f".{then}.")
            weights[old] = weights.pop(name)

    edit_weights(folder, rename)
    found = tensors(folder)
    plain = UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False).state_dict()
    assert any(".to_q." in name for name in new)
    for name, tensor in new.items():
        assert torch.equal(found[name], tensor)
        assert torch.equal(plain[name], tensor)


# Folders that cannot be used. Each has its own sentence.


def message(folder: Path) -> str:
    with pytest.raises(TeacherError) as caught:
        load_teacher(str(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_no_such_folder(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nothing'} does not exist; name " in message(tmp_path / "nothing")
    with pytest.raises(TeacherError, match="does not exist; name a bundled teacher or a diffusers folder"):
        inspect(tmp_path / "nothing")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "is no whole safetensors file" in message(tmp_path / "model.safetensors")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    assert "is not a diffusers model: unet/config.json is missing" in message(tmp_path)


def test_a_folder_without_scheduler(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")
    assert "scheduler/scheduler_config.json is missing" in message(folder)


@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json", "teacher.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000], ids=["cut", "binary", "deep"])
def test_a_config_that_is_no_json(folder: Path, part: str, content: bytes) -> None:
    (folder / part).write_bytes(content)
    assert f"{Path(part).name} is not readable JSON" in message(folder)


def test_a_config_that_is_no_object(folder: Path) -> None:
    (folder / "unet" / "config.json").write_text("[1, 2]")
    assert "config.json holds no settings" in message(folder)


@pytest.mark.parametrize("name", ["UNet3DConditionModel", "StableDiffusionPipeline", None, 3])
def test_an_unknown_kind_of_model(folder: Path, name: object) -> None:
    edit(folder / "unet" / "config.json", _class_name=name)
    assert f"holds a {name}, a kind of model that is not supported" in message(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"block_out_channels": "many"},
        {"block_out_channels": [8]},
        {"block_out_channels": [8.5, 16]},
        {"block_out_channels": [-8, 16]},
        {"norm_num_groups": 3},
        {"norm_num_groups": 0},
        {"down_block_types": ["NoBlock", "DownBlock2D"]},
        {"num_class_embeds": "ten"},
    ],
)
def test_an_impossible_network(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder / "unet" / "config.json", **changes)
    assert "unet/config.json describes no possible network" in message(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sample_size": None}, "names no sample_size"),
        ({"sample_size": [8, 8, 8]}, "names no sample_size"),
        ({"sample_size": "big"}, "names no sample_size"),
        ({"out_channels": 2}, "makes 2 channels of 1, perhaps with a learned variance"),
        ({"time_embedding_type": "fourier"}, "embeds time in the 'fourier' way"),
        ({"class_embed_type": "identity"}, "embeds classes by 'identity'"),
    ],
)
def test_a_network_that_is_not_supported(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit(folder / "unet" / "config.json", **changes)
    assert words in message(folder)


def test_a_pickle_is_refused_with_the_safe_way(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    text = message(folder)
    assert "diffusion_pytorch_model.bin is a pickle, which can run code when opened, and is refused" in text
    assert "save_pretrained(..., safe_serialization=True)" in text


def test_a_pickle_beside_safe_weights_is_left_alone(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert load_teacher(str(folder)).title == "Tiny"


def test_no_weights(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    assert f"holds no weights; it needs {WEIGHTS}" in message(folder)


def in_two_files(folder: Path) -> Path:
    """The weights split as diffusers splits large ones; the index."""
    weights, unet = load_file(folder / "unet" / WEIGHTS), folder / "unet"
    (unet / WEIGHTS).unlink()
    names = sorted(weights)
    where = {name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        save_file({name: weights[name] for name in names if where[name] == file}, unet / file)
    index = unet / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index


def test_weights_in_several_files(folder: Path) -> None:
    whole = tensors(folder)
    in_two_files(folder)
    split = tensors(folder)
    assert split.keys() == whole.keys()
    assert all(torch.equal(split[name], whole[name]) for name in whole)
    assert inspect(folder).parameters == sum(t.numel() for t in whole.values())


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "names no files of weights"),
        ({"weight_map": {"conv_in.bias": "../unet/other.safetensors"}}, "which is no safetensors file beside it"),
        ({"weight_map": {"conv_in.bias": "weights.bin"}}, "which is no safetensors file beside it"),
        ({"weight_map": {"conv_in.bias": "part-1.safetensors"}}, "lacks part-1.safetensors, one part of its weights"),
    ],
)
def test_an_index_that_leads_nowhere(folder: Path, index: dict[str, Any], words: str) -> None:
    in_two_files(folder).write_text(json.dumps(index))
    assert words in message(folder)


def test_weights_under_another_name(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert "holds diffusion_pytorch_model.fp16.safetensors; rename" in message(folder)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    file = folder / "unet" / WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    assert "is no whole safetensors file" in message(folder)


def test_a_header_longer_than_the_file(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    assert "is no whole safetensors file" in message(folder)


def test_missing_weights(folder: Path) -> None:
    edit_weights(folder, lambda w: w.pop("conv_in.bias"))
    assert "lacks conv_in.bias, which its config describes" in message(folder)


def test_weights_of_the_wrong_shape(folder: Path) -> None:
    edit_weights(folder, lambda w: w.update({"conv_in.bias": torch.zeros(9)}))
    assert "holds conv_in.bias of shape (9,) where its config describes (8,)" in message(folder)


def test_weights_of_too_many(folder: Path) -> None:
    edit_weights(folder, lambda w: w.update({"conv_in.extra": torch.zeros(9)}))
    assert "holds conv_in.extra, which its config does not describe" in message(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers(folder: Path, value: float) -> None:
    edit_weights(folder, lambda w: w["conv_out.weight"].flatten()[-1:].fill_(value))
    assert "holds numbers that are not finite in conv_out.weight" in message(folder)


def test_weights_of_whole_numbers(folder: Path) -> None:
    edit_weights(folder, lambda w: w.update({"conv_in.bias": w["conv_in.bias"].long()}))
    assert "holds whole numbers in conv_in.bias" in message(folder)


def test_zero_terminal_snr_with_epsilon(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", rescale_betas_zero_snr=True)
    assert "zero terminal SNR, at which a network that predicts epsilon says nothing" in message(folder)


def test_an_unknown_prediction_type(folder: Path) -> None:
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="guess")
    assert "Prediction type 'guess' is unknown; it must be epsilon, v_prediction or sample" in message(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"null_label": 4}, "label 4 means no class, but the network knows 4 labels"),
        ({"null_label": "3"}, "label '3' means no class"),
        ({"labels": ["a", "b", "c", "d"]}, "at most the 3 classes of the network"),
        ({"labels": "abc"}, "at most the 3 classes of the network"),
        ({"title": 3}, "must say title in words"),
        ({"licence": ["MIT"]}, "must say licence in words"),
    ],
)
def test_a_profile_that_contradicts_the_network(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit(folder / "teacher.json", **changes)
    assert words in message(folder)


def test_figures_of_other_weights_are_not_the_teachers(folder: Path) -> None:
    figures: dict[str, Any] = {"weights": load_teacher(str(folder)).digest, "nfe": {"50": {"frechet": 2.0}}}
    for weights, found in ((figures["weights"], {"frechet": 2.0}), ("0" * 64, {}), (None, {})):
        (folder / "figures.json").write_text(json.dumps(figures | {"weights": weights}))
        assert stored_figures(load_teacher(str(folder))) == found


def test_broken_figures(folder: Path) -> None:
    (folder / "figures.json").write_text("[")
    assert "figures.json is not readable JSON" in message(folder)


# Our sampling of a folder is plain diffusers' own loop over the same folder.


def plain_loop(folder: Path, name: str, labels: Tensor, start: Tensor, **steps: Any) -> Tensor:
    """What a pipeline does, from the state `start` at its first timestep."""
    unet = UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False).eval()
    scheduler = getattr(diffusers, name).from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(**steps)
    state = start
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.scale_model_input(state, t) if hasattr(scheduler, "scale_model_input") else state
            state = scheduler.step(unet(x, t, class_labels=labels).sample, t, state).prev_sample
    return state


LABELS = torch.tensor([0, 1, 2, 3, 1])


def both(folder: Path, scheduler: Any, sampler: Sampler | None, nfe: int, **steps: Any) -> tuple[Tensor, Tensor]:
    scheduler.save_pretrained(folder / "scheduler")
    teacher = load(folder, "tiny")
    path = teacher.denoiser.path
    sampler = sampler or Sampler("deterministic", path.grid(nfe))
    noise = normal((5, 1, 8, 8), torch.Generator().manual_seed(4))
    ours = sample(teacher.denoiser, sampler, noise, Condition.of_labels(LABELS), torch.Generator())
    start = noise * float(path.start_scale(torch.ones(1, dtype=torch.float64)))
    return ours, plain_loop(folder, type(scheduler).__name__, LABELS, start, **(steps or {"num_inference_steps": nfe}))


# Divisors of 1000: for other counts DDIM steps to t - 1000 // nfe, which is not the timestep it evaluates next.
@pytest.mark.parametrize("nfe", [1, 2, 5, 20])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_ddim_over_the_same_folder(folder: Path, kind: str, nfe: int) -> None:
    # A beta schedule whose last alpha is not tiny: float32 epsilon over alpha 0.006 has itself errors of 1e-5.
    scheduler = diffusers.DDIMScheduler(
        timestep_spacing="trailing", clip_sample=False, prediction_type=kind, beta_schedule="scaled_linear"
    )
    ours, theirs = both(folder, scheduler, None, nfe)
    assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))


def test_ddim_over_the_same_folder_at_zero_terminal_snr(folder: Path) -> None:
    scheduler = diffusers.DDIMScheduler(
        timestep_spacing="trailing", clip_sample=False, prediction_type="v_prediction", rescale_betas_zero_snr=True
    )
    ours, theirs = both(folder, scheduler, None, 5)
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("nfe", [1, 2, 7, 20])
@pytest.mark.parametrize("sigma_max", [20.0, 80.0])
def test_edm_over_the_same_folder(folder: Path, sigma_max: float, nfe: int) -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.02, sigma_max=sigma_max)
    ours, theirs = both(folder, scheduler, None, nfe)
    assert isinstance(load(folder, "tiny").denoiser.path, VarianceExploding)
    assert (ours - theirs).abs().max() < 1e-5 * sigma_max / 20  # float32 rounding of a state of size sigma_max


@pytest.mark.parametrize("nfe", [1, 2, 7, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_over_the_same_folder(folder: Path, shift: float, nfe: int) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    levels = teacher_sampler(nfe).levels
    ours, theirs = both(folder, scheduler, teacher_sampler(nfe), nfe, sigmas=list(levels))
    assert isinstance(load(folder, "tiny").denoiser.path, FlowMatching)
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize(
    "name",
    [
        "DDPMScheduler",
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LMSDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "LCMScheduler",
        "TCDScheduler",
        "EDMDPMSolverMultistepScheduler",
        "FlowMatchHeunDiscreteScheduler",
        "FlowMatchLCMScheduler",
    ],
)
def test_a_folder_with_any_common_scheduler_loads_and_samples(folder: Path, name: str) -> None:
    getattr(diffusers, name)().save_pretrained(folder / "scheduler")
    teacher = load(folder, "tiny")
    noise = normal((2, 1, 8, 8), torch.Generator().manual_seed(4))
    made = sample(teacher.denoiser, teacher_sampler(2), noise, teacher.each_condition(2), torch.Generator())
    assert made.isfinite().all()
