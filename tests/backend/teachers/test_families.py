"""Every family goes in as it is: our sampling of a folder is its own pipeline's."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from backend.networks import Condition, Denoiser, Guided
from backend.networks.codec import Autoencoder
from backend.networks.flux import pack, unpack
from backend.noise import FlowMatching, VariancePreserving
from backend.samplers import normal, sample, teacher_sampler
from backend.teachers import Teacher, load_teacher

from . import tiny

Models = Callable[[str], Path]
every_family = pytest.mark.parametrize("name", tiny.FAMILIES)
every_prompted = pytest.mark.parametrize("name", [name for name in tiny.FAMILIES if name != "dit"])
STEPS = 4
LABELS = [1, 4, 2]
LAST_LAYERS = ("unet.conv_out", "transformer.proj_out", "transformer.norm_out")


def loaded(tiny_model: Models, name: str) -> Teacher:
    return load_teacher(str(tiny_model(name)), prompts=tiny.PROMPTS)


def is_flow(teacher: Teacher) -> bool:
    return isinstance(teacher.denoiser.path, FlowMatching)


def own_pipeline(folder: Path, teacher: Teacher) -> Any:
    """The folder's pipeline, with its noise schedule under the plain deterministic solver."""
    pipe = tiny.opened(folder)
    if isinstance(teacher.denoiser.path, FlowMatching):
        pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=teacher.denoiser.path.shift)
    else:
        config = {**pipe.scheduler.config, "timestep_spacing": "trailing", "clip_sample": False}
        pipe.scheduler = diffusers.DDIMScheduler.from_config(config, set_alpha_to_one=True)
    return pipe


def its_pictures(folder: Path, teacher: Teacher, noise: Tensor, scale: float) -> Tensor:
    """What the pipeline makes of this noise, (B, 3, H, W) in [-1, 1]."""
    pipe = own_pipeline(folder, teacher)
    asked: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "pt", "guidance_scale": scale}
    name = type(pipe).__name__
    if name == "DiTPipeline":  # takes no noise, and draws it first
        drawn: Tensor = pipe(LABELS, generator=torch.Generator().manual_seed(3), **asked).images
        return 2 * drawn - 1
    if name in ("PixArtAlphaPipeline", "PixArtSigmaPipeline", "SanaPipeline"):
        asked |= {"use_resolution_binning": False, "clean_caption": False}
    if name == "FluxPipeline":
        noise, asked["guidance_scale"] = pack(noise), 3.5
    if is_flow(teacher) and name != "SanaPipeline":
        asked["sigmas"] = list(teacher_sampler(STEPS).levels)
    if name == "SanaPipeline":
        asked |= {"sigmas": list(teacher_sampler(STEPS).levels), "num_inference_steps": None}
    height, width = teacher.data_shape[1:]
    made: Tensor = pipe(list(tiny.PROMPTS), latents=noise, height=height, width=width, **asked).images
    return 2 * made - 1


# PixArt's pipeline tells the sizes to models of 128x128 latents alone.
@pytest.mark.parametrize("name", [name for name in tiny.FAMILIES if name != "pixart-alpha-sizes"])
def test_its_samples_are_its_own_pipelines(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    scale = 1.0 if name.startswith("flux") else 2.5
    net = Guided(teacher.denoiser, scale)
    noise = normal((3, *teacher.denoiser.shape), torch.Generator().manual_seed(3))
    cond = teacher.each_condition(3) if name != "dit" else Condition.of_labels(torch.tensor(LABELS))
    sampler = teacher_sampler(STEPS, None if is_flow(teacher) else teacher.denoiser.path)
    ours = teacher.codec.decode(sample(net, sampler, noise, cond, torch.Generator())).clamp(-1, 1)
    theirs = its_pictures(tiny_model(name), teacher, noise, scale)
    assert theirs.std() > 0.05
    assert (ours - theirs).abs().max() < 3e-4


@every_family
def test_its_pictures_go_in_and_out_of_its_own_autoencoder(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    vae = tiny.opened(tiny_model(name)).vae
    pixels = torch.rand(2, *teacher.data_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        encoded = vae.encode(pixels)
        latents = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latent
        ours = teacher.codec.encode(pixels)
        shift = getattr(vae.config, "shift_factor", None) or 0
        assert torch.allclose(ours, (latents - shift) * vae.config.scaling_factor, atol=1e-6)
        assert torch.allclose(teacher.codec.decode(ours), vae.decode(latents).sample, atol=1e-5)
    assert ours.shape[1:] == teacher.denoiser.shape


@every_family
def test_gradients_pass_through_decoding_and_reach_no_weight(name: str, tiny_model: Models) -> None:
    codec = loaded(tiny_model, name).codec
    assert isinstance(codec, Autoencoder)
    samples = torch.zeros(1, 4, tiny.LATENT, tiny.LATENT, requires_grad=True)
    codec.decode(samples).square().sum().backward()
    assert samples.grad is not None
    assert samples.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in codec.module.parameters())


@every_family
def test_feature_maps_keep_their_places_and_their_gradient(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    net, t = teacher.trainable(), torch.tensor([0.3, 0.9], dtype=torch.float64)
    noised = torch.randn(2, *net.shape, generator=torch.Generator().manual_seed(0))
    maps = net.features(noised, t, teacher.each_condition(2))
    assert all(m.ndim == 4 and len(m) == 2 for m in maps)
    maps[-1].square().sum().backward()
    touched = [name for name, p in net.named_parameters() if p.grad is not None]
    assert touched
    assert not any(name.startswith(f"network.{last}") for name in touched for last in LAST_LAYERS)
    whole = net(noised, t, teacher.each_condition(2)).output
    assert whole.shape == noised.shape
    prediction, same = net.with_features(noised, t, teacher.each_condition(2), prediction_in_graph=False)
    assert torch.equal(prediction.output, whole)
    assert not prediction.output.requires_grad
    for one, other in zip(same, maps, strict=True):
        assert torch.equal(one, other)
        assert one.requires_grad


@every_prompted
def test_guidance_leaves_out_the_prompt_and_nothing_else(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    net = teacher.denoiser
    cond = (
        teacher.each_condition(2)
        .with_part("guidance", torch.tensor([2.0, 3.0]))
        .with_part("end_time", torch.tensor([0.1, 0.2]))
    )
    null = net.null(cond)
    assert null is not None
    assert null.parts.keys() == cond.parts.keys()
    assert torch.equal(null.parts["guidance"], cond.parts["guidance"])
    assert torch.equal(null.parts["end_time"], cond.parts["end_time"])
    assert torch.equal(null.parts["text"][0], null.parts["text"][1])
    assert not torch.equal(null.parts["text"], cond.parts["text"])
    # A batch that names no prompt is a batch of empty prompts.
    x, t = torch.randn(2, *net.shape), torch.tensor([0.3, 0.9], dtype=torch.float64)
    assert torch.equal(
        net(x, t, net.null(teacher.each_condition(2)) or cond).output, net(x, t, Condition.none(2)).output
    )


@every_family
def test_a_student_told_numbers_starts_as_the_teacher_and_learns_them(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    student = teacher.trainable().extended("guidance", "end_time")
    assert student.inputs == ("guidance", "end_time")
    x, t = torch.randn(2, *student.shape), torch.tensor([0.3, 0.9], dtype=torch.float64)
    cond = teacher.each_condition(2).with_part("guidance", torch.tensor([2.0, 6.0]))
    cond = cond.with_part("end_time", torch.tensor([0.1, 0.2]))
    taught = teacher.denoiser(x, t, cond).output
    # Products of what has a gradient are folded otherwise, and on some processors rounded otherwise.
    assert torch.equal(copy.deepcopy(student).requires_grad_(False)(x, t, cond).output, taught)
    numbers: Any = student.network.numbers
    torch.nn.init.normal_(numbers["end_time"].last.weight, generator=torch.Generator().manual_seed(0))
    assert (student(x, t, cond).output - taught).abs().max() > 1e-3
    with pytest.raises(ValueError, match="must be told"):
        student(x, t, teacher.each_condition(2))


@pytest.mark.parametrize("name", ["dit", "sd", "sd3", "pixart-alpha", "sana", "flux"])
def test_gradients_of_what_is_computed_again_are_the_same(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    x, t = torch.randn(2, *teacher.denoiser.shape), torch.tensor([0.3, 0.9], dtype=torch.float64)
    cond = teacher.each_condition(2).with_part("end_time", torch.tensor([0.1, 0.2]))
    torch.manual_seed(0)
    student = teacher.trainable().extended("end_time")
    numbers: Any = student.network.numbers
    torch.nn.init.normal_(numbers["end_time"].last.weight)

    def gradients(features: bool) -> list[Tensor | None]:
        made = student.features(x, t, cond)[-1] if features else student(x, t, cond).output
        return list(torch.autograd.grad(made.square().sum(), list(student.parameters()), allow_unused=True))

    plain = [gradients(features) for features in (True, False)]
    module: Any = getattr(student.network, "unet", None) or student.network.transformer
    module.enable_gradient_checkpointing()
    student.train()
    for before, features in zip(plain, (True, False), strict=True):
        for mine, theirs in zip(before, gradients(features), strict=True):
            assert (mine is None) == (theirs is None)
            assert mine is None or theirs is None or torch.equal(mine, theirs)


@every_family
def test_the_path_is_the_schedulers(name: str, tiny_model: Models) -> None:
    teacher = loaded(tiny_model, name)
    scheduler = tiny.opened(tiny_model(name)).scheduler
    path = teacher.denoiser.path
    if isinstance(path, VariancePreserving):
        t = path.t_of_network_time(torch.arange(999, dtype=torch.float64))
        assert (path.alpha(t) ** 2 - scheduler.alphas_cumprod[:999].double()).abs().max() < 1e-7
        assert teacher.denoiser.prediction_type == scheduler.config.prediction_type
    else:
        assert teacher.denoiser.prediction_type == "flow"


@every_family
def test_loading_leaves_the_global_random_state_alone_and_a_copy_trains(name: str, tiny_model: Models) -> None:
    folder = tiny_model(name)
    before = torch.random.get_rng_state()
    teacher = load_teacher(str(folder), prompts=tiny.PROMPTS)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(p.requires_grad for p in teacher.denoiser.parameters())
    copy = teacher.trainable()
    assert isinstance(copy, Denoiser)
    assert all(p.requires_grad for p in copy.parameters())
    assert len(teacher.digest) == 64
    assert teacher.digest == load_teacher(str(folder), prompts=tiny.PROMPTS[:1]).digest


def test_pixart_is_told_the_size_of_its_pictures(tiny_model: Models) -> None:
    teacher = loaded(tiny_model, "pixart-alpha-sizes")
    transformer, cond = tiny.opened(tiny_model("pixart-alpha-sizes")).transformer, teacher.each_condition(2)
    x, t = torch.randn(2, *teacher.denoiser.shape), torch.tensor([0.25, 0.75], dtype=torch.float64)
    size = {"resolution": torch.tensor([[16.0, 16.0]] * 2), "aspect_ratio": torch.tensor([[1.0]] * 2)}
    with torch.no_grad():
        theirs = transformer(x, cond.part("text"), t * 999, size, encoder_attention_mask=cond.part("text_mask")).sample
    assert torch.equal(teacher.denoiser(x, t, cond).output, theirs[:, :4])


def test_packing_is_undone_by_unpacking() -> None:
    x = torch.randn(2, 3, 6, 4)
    tokens = pack(x)
    assert tokens.shape == (2, 6, 12)
    assert torch.equal(tokens, diffusers.FluxPipeline._pack_latents(x, 2, 3, 6, 4))
    assert torch.equal(unpack(tokens, 3, 2), x)


def test_many_pictures_are_decoded_a_few_at_a_time(tiny_model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.networks import codec as module

    codec = loaded(tiny_model, "sd").codec
    assert isinstance(codec, Autoencoder)
    sizes: list[int] = []
    decode: Any = codec.module.decode

    def counted(latents: Tensor, **how: Any) -> Any:
        sizes.append(len(latents))
        return decode(latents, **how)

    monkeypatch.setattr(codec.module, "decode", counted)
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", 2 * 16 * 16)
    samples = torch.randn(5, 4, tiny.LATENT, tiny.LATENT)
    with torch.no_grad():
        few = codec.decode(samples)
    assert sizes == [2, 2, 1]
    assert torch.allclose(few, codec.decode(samples), atol=1e-6)
