"""What a model folder says of itself: its family, its configs, which parts are there; all from JSON, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from backend.teachers import TeacherError
from backend.teachers.families import AUTOENCODERS, ENCODERS, FAMILIES, FLUX_SIZE, TOKENIZERS, Family
from backend.teachers.files import part, read_json

LORA = "pytorch_lora_weights.safetensors"
"""The file in which diffusers keeps adapters alone."""


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
    if (folder / LORA).is_file():
        raise TeacherError(f"{folder} holds LoRA adapters, which change a model and are none; name the model itself.")
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


def refuse_network(model: Layout, whole: Mapping[str, Any]) -> None:
    """Raises `TeacherError` for a network that can be built and not be used. whole: its config with its defaults."""
    refused = _refusal(model, whole)
    if refused:
        raise TeacherError(f"The network in {model.folder} {refused}.")


def _refusal(model: Layout, whole: Mapping[str, Any]) -> str:
    """What is wrong with a network that can be built and not be used, as the rest of a sentence; empty for nothing."""
    made, taken = whole.get("out_channels") or whole["in_channels"], whole["in_channels"]
    learned = model.family.key in ("dit", "pixart-alpha", "pixart-sigma", "sana") and made == 2 * taken
    if made != taken and not learned:
        return (
            f"makes {made} channels of {taken}, perhaps with a learned variance, which is not supported; choose a "
            "teacher that predicts one value per value"
        )
    if model.family.network.startswith("UNet2D") and whole.get("time_embedding_type", "positional") != "positional":
        return (
            f"embeds time in the {whole['time_embedding_type']!r} way, which is not supported; choose a teacher with "
            "positional embeddings"
        )
    if whole.get("class_embed_type") is not None:
        return (
            f"embeds classes by {whole['class_embed_type']!r}, which is not supported; choose a teacher with a table "
            "of classes (num_class_embeds)"
        )
    if model.family.key in ("sd", "sdxl"):
        expected = "text_time" if model.family.key == "sdxl" else None
        for name, value in (
            ("addition_embed_type", expected),
            ("time_cond_proj_dim", None),
            ("num_class_embeds", None),
        ):
            if whole.get(name) != value:
                return f"has {name} {whole.get(name)!r}, which is not supported; choose a plain {model.family.title}"
    return ""


def class_count(model: Layout) -> int:
    """How many class embeddings the network has, 0 for none."""
    if model.family.key == "dit":
        return int(model.network["num_embeds_ada_norm"]) + 1
    count = model.network.get("num_class_embeds") or 0
    if type(count) is not int or count < 0:
        raise TeacherError(
            f"unet/config.json describes no possible network (num_class_embeds is {count!r}); download the model again."
        )
    return count


def classes_of(model: Layout) -> tuple[int | None, tuple[str, ...]]:
    """The null label and the names of the other classes."""
    classes = class_count(model)
    null_label = classes - 1 if model.family.key == "dit" else model.about.get("null_label")
    if null_label is not None and not (isinstance(null_label, int) and 0 <= null_label < classes):
        raise TeacherError(
            f"teacher.json says that label {null_label!r} means no class, but the network knows {classes} labels; "
            "correct null_label."
        )
    labels = model.about.get("labels") or _pipeline_labels(model) or ()
    real = classes - (null_label is not None)
    if not isinstance(labels, list | tuple) or len(labels) > real:
        raise TeacherError(f"teacher.json must name at most the {real} classes of the network in labels; correct it.")
    if not labels and null_label in (None, classes - 1):
        labels = range(real)
    return null_label, tuple(str(label) for label in labels)


def _pipeline_labels(model: Layout) -> list[str]:
    """The names that DiT's pipeline keeps in its index, number -> name."""
    named = model.pipeline.get("id2label")
    if not isinstance(named, dict) or set(named) != {str(i) for i in range(len(named))}:
        return []
    return [str(named[str(i)]) for i in range(len(named))]
