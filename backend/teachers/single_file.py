"""One safetensors file in its authors' layout: converted once by diffusers, to a cached folder.

Such a file holds weights and no settings or tokenizer. Those come from a folder of the same name beside it; nothing is
downloaded. A file of Stable Diffusion 1, 2 or XL is the whole model; of other families it is the network, and the
folder beside it must have the weights of all other parts.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from backend.contract.files import content_hash
from backend.teachers import TeacherError
from backend.teachers.files import PICKLES, Stored, header, pickle_words, weights_files
from backend.teachers.layouts import Layout, layout

NETWORK = "model.diffusion_model."
"""What the names of the network's tensors begin with in a file with other parts."""
_NO_PARAMETERS = ("pos_embed", "y_embedder.y_embedding")
"""Tensors of original networks that are none of the converted ones' parameters."""
_OWN_NAMES = ("down_blocks.", "transformer_blocks.", "single_transformer_blocks.")
"""What names begin with that diffusers gives."""


@dataclass(frozen=True)
class Kind:
    """How a file's family is told: by the name of one tensor, without `NETWORK`. families: keys of `FAMILIES`.

    whole: it is read with all its parts. converts: whether diffusers knows the layout.
    """

    title: str
    sign: str
    families: tuple[str, ...]
    whole: bool = False
    converts: bool = True


KINDS = (
    Kind("Stable Diffusion 1, 2 or XL", "input_blocks.0.0.weight", ("sd", "sdxl"), whole=True),
    Kind("Stable Diffusion 3", "joint_blocks.0.context_block.attn.qkv.weight", ("sd3",)),
    Kind("FLUX", "double_blocks.0.img_attn.qkv.weight", ("flux",)),
    Kind("Sana", "blocks.0.mlp.inverted_conv.conv.weight", ("sana",)),
    Kind("PixArt", "blocks.0.cross_attn.q_linear.weight", ("pixart-alpha", "pixart-sigma"), converts=False),
    Kind("DiT", "y_embedder.embedding_table.weight", ("dit",), converts=False),
)
"""In this order, because a Sana has what a PixArt is told by, too."""


def settings_of(file: FilePath) -> FilePath:
    """The folder with what the file lacks. Raises `TeacherError` where the file is no such file, or there is none."""
    return _looked_at(file)[1].folder


def network_tensors(file: FilePath) -> dict[str, Stored]:
    """The tensors of the file's network that train, from its header."""
    stored = header(file)[0]
    inside = {name: tensor for name, tensor in stored.items() if name.startswith(NETWORK)} or stored
    return {name: tensor for name, tensor in inside.items() if name.removeprefix(NETWORK) not in _NO_PARAMETERS}


def bytes_of(file: FilePath) -> int:
    """Of the weights that a model from this file has, on the disk."""
    kind, settings = _looked_at(file)
    others = [] if kind.whole else _other_weights(settings)
    return sum(one.stat().st_size for one in (file, *others))


def _looked_at(file: FilePath) -> tuple[Kind, Layout]:
    if file.suffix in PICKLES:
        raise TeacherError(pickle_words(file))
    if file.suffix != ".safetensors":
        raise TeacherError(f"{file} is a file; name the diffusers folder that holds unet/ and scheduler/.")
    kind = _kind_of(file, header(file)[0])
    beside = file.with_suffix("")
    if not (beside / "model_index.json").is_file():
        what, weights = ("weights alone", "weights not needed") if kind.whole else ("a network alone", "with weights")
        raise TeacherError(
            f"{file} holds {what}; put the settings and tokenizer of its kind of model (a diffusers folder, {weights}) "
            f"beside it as {beside.name}/."
        )
    settings = layout(beside)
    if settings.family.key not in kind.families:
        raise TeacherError(
            f"{file} holds a {kind.title} model, and {beside.name}/ beside it is of {settings.family.title}; put a "
            f"diffusers folder of {kind.title} there."
        )
    if not kind.whole:
        _other_weights(settings)
    return kind, settings


def _kind_of(file: FilePath, names: Collection[str]) -> Kind:
    """Which family's layout it is. Raises `TeacherError` where it is none that can be read."""
    if any("lora" in name.lower() for name in names):
        raise TeacherError(f"{file} holds LoRA adapters, which change a model and are none; name the model itself.")
    bare = {name.removeprefix(NETWORK) for name in names}
    kind = next((kind for kind in KINDS if kind.sign in bare), None)
    if kind is not None and not kind.converts:
        raise TeacherError(
            f"{file} holds a {kind.title} network in its authors' layout, which diffusers does not convert; name a "
            f"diffusers folder of the {kind.title} model."
        )
    if kind is not None and (not kind.whole or NETWORK + kind.sign in names):
        return kind
    if any(name.startswith(_OWN_NAMES) for name in names):
        raise TeacherError(
            f"{file} holds a network under diffusers' names; put it into its model's diffusers folder as "
            "diffusion_pytorch_model.safetensors in unet/ or transformer/, and name that folder."
        )
    raise TeacherError(
        f"{file} is in no layout that is read, a whole Stable Diffusion 1, 2 or XL model or a network of Stable "
        "Diffusion 3, FLUX or Sana; name the diffusers folder it belongs to."
    )


def _other_weights(settings: Layout) -> list[FilePath]:
    """The weights of all parts but the network. Raises `TeacherError` where some are missing."""
    found = weights_files(settings.folder / "vae", "diffusion_pytorch_model")
    for encoder in settings.encoders:
        found += weights_files(settings.folder / encoder.encoder, "model")
    return found


def converted(file: FilePath) -> FilePath:
    """The diffusers folder that the file becomes. Raises `TeacherError` where diffusers cannot convert it."""
    from backend.cache import cache_folder  # noqa: PLC0415  (torch, which saying what the file is does not need)

    kind, settings = _looked_at(file)
    name = content_hash(file)
    if not kind.whole:  # it leads to the folder beside it
        name = hashlib.sha256(f"{name} {settings.folder.resolve()}".encode()).hexdigest()
    folder = cache_folder() / "converted" / name
    if not (folder / "model_index.json").is_file():
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            (_convert_whole if kind.whole else _convert_network)(file, settings, draft)
            draft.rename(folder)
        except OSError as error:
            raise TeacherError(f"{file} cannot be converted ({error}); make room in {cache_folder()}.") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _convert_whole(file: FilePath, settings: Layout, out: FilePath) -> None:
    from backend.teachers.modules import pipeline  # noqa: PLC0415

    kind: Any = pipeline(str(settings.pipeline.get("_class_name")))
    if kind is None or not hasattr(kind, "from_single_file"):
        place = settings.folder / "model_index.json"
        raise TeacherError(f"{place} names no pipeline that diffusers makes of one file.")
    out.parent.mkdir(parents=True, exist_ok=True)
    _read(file, settings, kind, safety_checker=None).save_pretrained(out)
    _describe(file, settings, out)


def _convert_network(file: FilePath, settings: Layout, out: FilePath) -> None:
    """The network of the file among links to all else of the folder beside it."""
    import diffusers  # noqa: PLC0415

    network = _read(file, settings, getattr(diffusers, settings.family.network), subfolder=settings.family.folder)
    lacking = sorted(name for name, tensor in network.state_dict().items() if tensor.is_meta)
    if lacking:
        raise TeacherError(f"{file} lacks what becomes {lacking[0]}, which its config describes; download it again.")
    out.mkdir(parents=True)
    network.save_pretrained(out / settings.family.folder)
    for part in sorted(settings.folder.resolve().iterdir()):
        if part.name not in (settings.family.folder, "model_index.json", "teacher.json"):
            _link(part, out / part.name)
    _describe(file, settings, out)
    shutil.copyfile(settings.folder / "model_index.json", out / "model_index.json")  # last, as a sign that all is there


def _read(file: FilePath, settings: Layout, kind: Any, **how: Any) -> Any:
    """What diffusers makes of the file. Raises `TeacherError` where it cannot."""
    import torch  # noqa: PLC0415

    from backend.teachers.modules import quiet  # noqa: PLC0415

    about = {"config": str(settings.folder), "local_files_only": True, "torch_dtype": torch.float32}
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            return kind.from_single_file(str(file), **about, **how)
    except Exception as error:  # any kind at all, as diffusers' converters please
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise TeacherError(
            f"{file} cannot be converted as a {kind.__name__} ({reason}); check that {settings.folder.name}/ is of its "
            "kind."
        ) from error


def _link(part: FilePath, place: FilePath) -> None:
    """The same file or folder at another place: a link, or where there can be none a copy."""
    with suppress(OSError, NotImplementedError):  # Windows lets few people make links
        place.symlink_to(part, target_is_directory=part.is_dir())
        return
    if part.is_dir():
        shutil.copytree(part, place)
    else:
        shutil.copyfile(part, place)


def _describe(file: FilePath, settings: Layout, out: FilePath) -> None:
    about = settings.folder / "teacher.json"
    said = about.read_text(encoding="utf-8") if about.is_file() else json.dumps({"title": file.stem})
    (out / "teacher.json").write_text(said, encoding="utf-8")
