"""What a teacher is said to be without loading it, and that nothing heavy is loaded for that."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.teachers import TeacherError, diffusers_folder, quick
from backend.teachers.files import header

from . import tiny

Models = Callable[[str], Path]
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "peft")


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_what_is_said_at_once_is_what_is_loaded(name: str, tiny_model: Models) -> None:
    card, found = quick.card(str(tiny_model(name))), diffusers_folder.inspect(tiny_model(name))
    assert (card.title, card.licence) == (f"Tiny {name}", "none")
    assert (card.shape, card.parameters, card.prediction_type) == (found.shape, found.parameters, found.prediction_type)
    assert (card.path, card.labels) == (type(found.path).__name__, found.labels)
    assert card.condition == ("class" if name == "dit" else "text")
    assert card.unconditional  # by the class that means none, or the empty prompt
    side = 32 if name == "sana" else 16
    assert f"{side}x{side} pixels" in card.summary


def test_it_is_said_without_torch_and_without_reading_weights(tiny_model: Models, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model("sdxl"), tmp_path / "model"))
    for file in folder.rglob("*.safetensors"):  # every number is destroyed, the headers are whole
        content = bytearray(file.read_bytes())
        start = int.from_bytes(content[:8], "little") + 8
        content[start:] = b"\xff" * (len(content) - start)
        file.write_bytes(content)
    code = (
        "import json, sys\n"
        "from backend.contract import catalogue\n"
        "catalogue.store_cached(catalogue.default_key(), catalogue.Catalogue(version='1'))\n"
        f"sys.argv = ['distill', 'teachers', {str(folder)!r}, '--json']\n"
        "from backend.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print(sorted(name for name in sys.modules if name in {HEAVY!r}))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=Path.cwd()
    )
    *said, heavy = done.stdout.strip().splitlines()
    assert heavy == "[]"
    about: Any = json.loads("\n".join(said))
    assert about["condition"] == "text"
    taken = "conditioned on text, pooled, time ids, guidance scale 5"
    assert f"Stable Diffusion XL, 16x16 pixels, {taken}" in about["summary"]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
def test_a_file_that_is_cut_off_is_named(part: str, keep: int, tiny_model: Models, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model("sd"), tmp_path / "model"))
    file = folder / f"{part}.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(TeacherError, match="is no whole safetensors file"):
        quick.card(str(folder))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "another size than its shape"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "nothing sensible of a"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, "nothing sensible of a"),
        ({"a": {"dtype": "NONE", "shape": [1], "data_offsets": [0, 4]}}, "nothing sensible of a"),
        ({"a": []}, "nothing sensible of a"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "overlap or leave gaps"),
        (
            {
                "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            },
            "overlap or leave gaps",
        ),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "holds 8 bytes of numbers"),
        ([], "its header is no object"),
    ],
)
def test_a_header_that_lies_is_refused(said: object, why: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    text = json.dumps(said).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(TeacherError, match=why):
        header(file)


def test_weights_in_parts_are_counted_over_all_of_them(tiny_model: Models, tmp_path: Path) -> None:
    import diffusers

    folder = Path(shutil.copytree(tiny_model("sd"), tmp_path / "model"))
    whole = quick.card(str(folder)).parameters
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", max_shard_size="20KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    assert quick.card(str(folder)).parameters == whole
