"""The families of models that diffusers keeps in folders, and what a folder of each says of itself; without torch.

A family is one architecture of network with the parts that go around it. Everything here comes from JSON files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from backend.teachers import TeacherError
from backend.teachers.files import part, read_json

ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "Gemma2Model", "UMT5EncoderModel")
TOKENIZERS = tuple(f"{name}Tokenizer{fast}" for name in ("CLIP", "T5", "Gemma") for fast in ("", "Fast"))
FLUX_SIZE = 128
"""Side of a latent of FLUX, whose config names none: its pipeline's."""
AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC")


@dataclass(frozen=True)
class Family:
    """One architecture and what goes with it.

    network: diffusers' class of the network, which lies in `folder`. pipelines: diffusers' classes that use it as a
    teacher is used, the first what an export is. encoders: (tokenizer, text encoder) folders in the pipeline's order;
    optional: those of them that may be left out. classes: of an encoder and tokenizer where no pipeline says.
    parts: of its condition. guidance_scale: the pipeline's default. length: of a prompt in tokens; 0 for the
    tokenizer's own. defaults: of the network's config, where they matter here. resizes: whether it takes other sizes
    than its own.
    """

    key: str
    title: str
    network: str
    folder: str
    pipelines: tuple[str, ...]
    encoders: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()
    guidance_scale: float = 1.0
    length: int = 0
    defaults: Mapping[str, Any] = field(default_factory=dict)
    resizes: bool = False

    @property
    def latent(self) -> bool:
        """Whether it diffuses what an autoencoder makes of pictures."""
        return self.network != "UNet2DModel"


_ONE = (("tokenizer", "text_encoder"),)
_TWO = (*_ONE, ("tokenizer_2", "text_encoder_2"))
_THREE = (*_TWO, ("tokenizer_3", "text_encoder_3"))
_CLIP = ("CLIPTokenizer", "CLIPTextModel")
_CLIP_PROJECTED = ("CLIPTokenizer", "CLIPTextModelWithProjection")
_T5 = ("T5Tokenizer", "T5EncoderModel")
_UNET = {"in_channels": 4, "out_channels": 4}

FAMILIES = (
    Family(
        "unet2d",
        "Pixel U-Net",
        "UNet2DModel",
        "unet",
        ("DDPMPipeline", "DDIMPipeline", "ConsistencyModelPipeline"),
        defaults={"in_channels": 3, "out_channels": 3},
    ),
    Family(
        "dit",
        "DiT",
        "DiTTransformer2DModel",
        "transformer",
        ("DiTPipeline",),
        parts=("labels",),
        guidance_scale=4.0,
        defaults={"in_channels": 4, "sample_size": 32, "num_embeds_ada_norm": 1000},
    ),
    Family(
        "sd",
        "Stable Diffusion",
        "UNet2DConditionModel",
        "unet",
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        _ONE,
        classes=(_CLIP,),
        parts=("text",),
        guidance_scale=7.5,
        defaults=_UNET,
        resizes=True,
    ),
    Family(
        "sdxl",
        "Stable Diffusion XL",
        "UNet2DConditionModel",
        "unet",
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        _TWO,
        classes=(_CLIP, _CLIP_PROJECTED),
        parts=("text", "pooled", "time_ids"),
        guidance_scale=5.0,
        defaults=_UNET,
        resizes=True,
    ),
    Family(
        "sd3",
        "Stable Diffusion 3",
        "SD3Transformer2DModel",
        "transformer",
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"),
        _THREE,
        ("text_encoder_3",),
        (_CLIP_PROJECTED, _CLIP_PROJECTED, _T5),
        ("text", "pooled"),
        7.0,
        256,
        {"in_channels": 16, "out_channels": 16, "sample_size": 128},
        resizes=True,
    ),
    Family(
        "pixart-alpha",
        "PixArt-alpha",
        "PixArtTransformer2DModel",
        "transformer",
        ("PixArtAlphaPipeline",),
        _ONE,
        classes=(_T5,),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=120,
        defaults={"in_channels": 4, "out_channels": 8, "sample_size": 128},
    ),
    Family(
        "pixart-sigma",
        "PixArt-Sigma",
        "PixArtTransformer2DModel",
        "transformer",
        ("PixArtSigmaPipeline",),
        _ONE,
        classes=(_T5,),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=300,
        defaults={"in_channels": 4, "out_channels": 8, "sample_size": 128},
    ),
    Family(
        "sana",
        "Sana",
        "SanaTransformer2DModel",
        "transformer",
        ("SanaPipeline",),
        _ONE,
        classes=(("GemmaTokenizer", "Gemma2Model"),),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=300,
        defaults={"in_channels": 32, "out_channels": 32, "sample_size": 32},
    ),
    Family(
        "flux",
        "FLUX.1",
        "FluxTransformer2DModel",
        "transformer",
        ("FluxPipeline", "FluxImg2ImgPipeline"),
        _TWO,
        classes=(_CLIP, _T5),
        parts=("text", "pooled", "guidance"),
        length=512,
        defaults={"in_channels": 64},
        resizes=True,
    ),
)


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and the text encoder that goes with it: their folders, and their classes in transformers."""

    tokenizer: str
    encoder: str
    tokenizer_class: str
    encoder_class: str


@dataclass(frozen=True)
class Layout:
    """What a folder's JSON says. Configs: network, scheduler, autoencoder (None without one), pipeline (empty without
    one), and about, this program's own `teacher.json`.

    shape: of one sample, (C, H, W). factor: pixels along a side for one place of it. encoders: those that are there.
    """

    folder: FilePath
    family: Family
    network: dict[str, Any]
    scheduler: dict[str, Any]
    autoencoder: dict[str, Any] | None
    pipeline: dict[str, Any]
    about: dict[str, Any]
    shape: tuple[int, int, int]
    factor: int
    encoders: tuple[Encoder, ...]

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width of a picture in pixels."""
        return self.shape[1] * self.factor, self.shape[2] * self.factor

    @property
    def network_folder(self) -> FilePath:
        return part(self.folder, self.family.folder)

    @property
    def tokens(self) -> int:
        """How many tokens a transformer makes of one sample."""
        patch = 2 if self.family.key == "flux" else int(self.network.get("patch_size") or 1)
        return (self.shape[1] // patch) * (self.shape[2] // patch)

    @property
    def guidance_scale(self) -> float:
        """At which the teacher is meant to be sampled."""
        scale = self.about.get("guidance_scale", self.family.guidance_scale)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= 100:
            raise TeacherError("teacher.json must give guidance_scale as a number from 1 to 100; correct it.")
        return float(scale)


def layout(folder: FilePath) -> Layout:
    """What is in a folder. Raises `TeacherError` for what is no model, is of an unknown kind or lacks a part."""
    if not folder.exists():
        raise TeacherError(f"{folder} does not exist; name a bundled teacher or a diffusers folder.")
    if not folder.is_dir():
        raise TeacherError(f"{folder} is a file; name the diffusers folder that holds unet/ and scheduler/.")
    pipeline = _pipeline(folder)
    family, network = _family(folder, pipeline)
    about = profile(folder)
    autoencoder = _autoencoder(folder) if family.latent else None
    factor = _factor(autoencoder)
    shape = _shape(folder, family, network, about, autoencoder)
    return Layout(
        folder,
        family,
        network,
        config(folder, "scheduler", "scheduler_config.json"),
        autoencoder,
        pipeline,
        about,
        shape,
        factor,
        _encoders(folder, family, pipeline),
    )


def profile(folder: FilePath) -> dict[str, Any]:
    """`teacher.json` of a folder, empty where there is none. Raises `TeacherError` where it is broken."""
    file = folder / "teacher.json"
    return read_json(file) if file.is_file() else {}


def config(folder: FilePath, name: str, file: str) -> dict[str, Any]:
    """The config of one part of a model. Raises `TeacherError` where it is missing."""
    place = part(folder, name) / file
    if not place.is_file():
        raise TeacherError(
            f"{folder} is not a diffusers model: {name}/{file} is missing; "
            "choose a folder that holds unet/ or transformer/, and scheduler/."
        )
    return read_json(place)


def words(about: Mapping[str, Any], key: str) -> str | None:
    """A text of `teacher.json`, None where it says nothing."""
    value = about.get(key)
    if value is not None and not isinstance(value, str):
        raise TeacherError(f"teacher.json must say {key} in words; correct it.")
    return value


def _pipeline(folder: FilePath) -> dict[str, Any]:
    file = folder / "model_index.json"
    return read_json(file) if file.is_file() else {}


def _family(folder: FilePath, pipeline: Mapping[str, Any]) -> tuple[Family, dict[str, Any]]:
    transformer = (folder / "transformer" / "config.json").is_file()
    network = config(folder, "transformer" if transformer else "unet", "config.json")
    kind = network.get("_class_name")
    fitting = [family for family in FAMILIES if family.network == kind]
    if not fitting:
        known = ", ".join(dict.fromkeys(family.network for family in FAMILIES))
        raise TeacherError(
            f"{folder} holds a {kind}, a kind of model that is not supported; it must be one of {known}."
        )
    asked = pipeline.get("_class_name")
    family = next((f for f in fitting if asked in f.pipelines), None)
    if family is None and asked is not None and fitting[0].latent:
        known = ", ".join(f.pipelines[0] for f in fitting)
        raise TeacherError(f"{folder} is a {asked}, a kind of model that is not supported; it must be a {known}.")
    if family is None:
        family = fitting[-1] if network.get("addition_embed_type") == "text_time" else fitting[0]
    return family, {**family.defaults, **network}


def _autoencoder(folder: FilePath) -> dict[str, Any]:
    if not (folder / "vae").is_dir():
        raise TeacherError(f"{folder} lacks vae/, without which its samples are no pictures; add the model's own.")
    about = config(folder, "vae", "config.json")
    kind = about.get("_class_name")
    if kind not in AUTOENCODERS:
        raise TeacherError(
            f"{folder / 'vae'} holds a {kind}, which is not supported; it must be one of {', '.join(AUTOENCODERS)}."
        )
    if about.get("latents_mean") is not None or about.get("latents_std") is not None:
        raise TeacherError(
            f"{folder / 'vae'} scales each channel of its latents for itself (latents_mean), which is not supported; "
            "choose a model with one scaling factor."
        )
    return about


def _factor(autoencoder: Mapping[str, Any] | None) -> int:
    if autoencoder is None:
        return 1
    name = "encoder_block_out_channels" if autoencoder["_class_name"] == "AutoencoderDC" else "block_out_channels"
    blocks = autoencoder.get(name)
    if blocks is None:
        blocks = range(6 if autoencoder["_class_name"] == "AutoencoderDC" else 1)  # diffusers' defaults
    if not isinstance(blocks, list | tuple | range) or not 1 <= len(blocks) <= 12:
        raise TeacherError(f"vae/config.json must list its {name}; download the model again.")
    return int(2 ** (len(blocks) - 1))


def _shape(
    folder: FilePath,
    family: Family,
    network: Mapping[str, Any],
    about: Mapping[str, Any],
    autoencoder: Mapping[str, Any] | None,
) -> tuple[int, int, int]:
    size = network.get("sample_size", FLUX_SIZE if family.key == "flux" else None)
    if family.resizes and about.get("sample_size") is not None:
        size = about["sample_size"]
    sizes = (size, size) if isinstance(size, int) else size
    if not (isinstance(sizes, list | tuple) and len(sizes) == 2 and all(isinstance(n, int) and n > 0 for n in sizes)):
        raise TeacherError(f"The network in {folder} names no sample_size; add it to {family.folder}/config.json.")
    channels = network["in_channels"]
    if not isinstance(channels, int) or channels < 1:
        raise TeacherError(f"The network in {folder} takes {channels} channels; download the model again.")
    if family.key == "flux":
        channels //= 4
    if autoencoder is not None:
        theirs = autoencoder.get("latent_channels", 4)
        if theirs != channels:
            raise TeacherError(
                f"The network in {folder} takes {channels} channels and its vae makes {theirs}, as in models for "
                "inpainting or upscaling, which are not supported; choose a text-to-image model."
            )
    return channels, sizes[0], sizes[1]


def _encoders(folder: FilePath, family: Family, pipeline: Mapping[str, Any]) -> tuple[Encoder, ...]:
    found = []
    for (tokenizer, encoder), classes in zip(family.encoders, family.classes, strict=True):
        named = [_class_of(pipeline, name, usual) for name, usual in zip((tokenizer, encoder), classes, strict=True)]
        if None in named or (not pipeline and not (folder / encoder).is_dir()):
            if encoder in family.optional:
                continue
            raise TeacherError(f"{folder} is a {family.title} model without {encoder}; add the model's own.")
        for name, kind, known in ((tokenizer, named[0], TOKENIZERS), (encoder, named[1], ENCODERS)):
            if kind not in known:
                raise TeacherError(f"{folder / name} is a {kind}, which is not supported; it must be a {known[0]}.")
            if not (folder / name).is_dir():
                raise TeacherError(
                    f"{folder} lacks {name}/, without which it cannot read prompts; add the model's own."
                )
        _require_tokenizer(folder / tokenizer)
        config(folder, encoder, "config.json")
        found.append(Encoder(tokenizer, encoder, str(named[0]), str(named[1])))
    return tuple(found)


def _class_of(pipeline: Mapping[str, Any], name: str, usual: str) -> str | None:
    """The class a pipeline names for a part, None where it says that there is none."""
    if not pipeline:
        return usual
    named = pipeline.get(name)
    if not isinstance(named, list) or len(named) != 2 or named[1] is None:
        return None
    return str(named[1])


def _require_tokenizer(folder: FilePath) -> None:
    """Raises `TeacherError` unless the folder holds a vocabulary in one of the usual forms."""
    whole = any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model", "tokenizer.model"))
    if not whole and not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        raise TeacherError(
            f"{folder} holds no vocabulary (tokenizer.json, or vocab.json and merges.txt); download the model again."
        )
