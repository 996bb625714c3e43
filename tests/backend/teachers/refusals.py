"""The table of misconfigurations: each is refused or counted before a run starts, and said of the value it is in.

    python -m tests.backend.teachers.refusals

asks the command line about each, in a process of its own, and says how long the answer takes: at most `PROMISED`
seconds where no weights are needed. `test_refusals` asks the same in one process.

What the methods need is learnt first, as the window does when it is started for the first time, and `distill teachers
PATH` too: before that, pictures and captions are refused in as many seconds as it takes to load every method.
"""

import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from ..datasets.test_image_folder import header_only_png
from . import tiny
from .test_misconfigured import AT_ONCE, Change

PROMISED = 2.0
"""Seconds."""
Models = Callable[[str], Path]
Values = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One misconfiguration. make: writes what is wrong into a new folder and says the recipe's values.

    field: beside which `words`, a part of the sentence, are said. weights: whether a network must be loaded for it.
    kind: a problem keeps a run from starting, a warning counts what is left out.
    """

    field: str
    words: str
    make: Callable[[Path, Models], Values]
    weights: bool = False
    kind: str = "problem"


def model(family: str, change: Change, folder: Path, models: Models) -> Values:
    """A teacher that was broken."""
    broken = Path(shutil.copytree(models(family), folder / "broken"))
    change(broken)
    return {"teacher": str(broken)}


def adapters(names: tuple[str, ...], where: str, folder: Path, models: Models) -> Values:
    """A LoRA for a teacher. where: the file in the folder; with a base beside it where it is named so."""
    file = folder / where
    file.parent.mkdir(exist_ok=True)
    save_file({name: torch.zeros(4, 4) for name in names}, file)
    if file.stem == "based":
        shutil.copytree(models("sd"), file.with_suffix(""))
    return {"teacher": str(file.parent if file.parent != folder else file)}


def prompts(content: bytes | None, folder: Path, models: Models) -> Values:
    """A prompt file, or None for one that is not there."""
    file = folder / "prompts.txt"
    if content is not None:
        file.write_bytes(content)
    return {"teacher": str(models("sd")), "prompts": str(file)}


def pictures(files: Mapping[str, bytes], folder: Path, models: Models, teacher: str = "digits") -> Values:
    """Real data of these files, for a method that learns from them."""
    place = folder / "pictures"
    place.mkdir()
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    known = {"teacher": teacher if teacher == "digits" else str(models(teacher)), "method": "gdd"}
    return {**known, "data": str(place / "all.zip" if "all.zip" in files else place)}


def encoded(image: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    """A picture as a file's bytes."""
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def flat(mode: str, value: Any, size: int = 16) -> Image.Image:
    return Image.new(mode, (size, size), value)


GOOD = encoded(flat("L", 90))
WHOLE = encoded(Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)))
MOVING = encoded(flat("L", 0), "GIF", save_all=True, append_images=[flat("L", 99)])
ODD: dict[str, tuple[bytes, str]] = {
    "that are cut off": (WHOLE[: len(WHOLE) // 2], "1 broken"),
    "of no bytes": (b"", "1 broken"),
    "that are none": (b"not a picture", "1 broken"),
    "of another format than their name's": (encoded(flat("L", 3), "PCX"), "1 broken"),
    "that move": (MOVING, "1 animated or of several pages"),
    "that claim to be huge": (header_only_png(50_000, 50_000), "1 too large"),
    "that are too large": (header_only_png(10_000, 10_000), "1 too large"),
    "of measurements": (encoded(flat("F", 0.5), "TIFF"), "1 in a colour mode that is not read (F)"),
}
"""Kinds of files that are no pictures to learn from, and how they are counted."""
READ = {
    "7/palette.png": encoded(flat("RGB", (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)),
    "7/paper.tif": encoded(flat("CMYK", (0, 0, 0, 9)), "TIFF"),
    "7/sixteen.png": encoded(Image.fromarray(np.full((16, 16), 100 * 257, np.uint16))),
    "7/half.png": encoded(flat("RGBA", (0, 0, 0, 128))),
    "7/bilevel.png": encoded(flat("1", 1)),
}
"""Odd pictures that are used all the same."""
MIXED = {**READ, **{f"7/{number}.png": content for number, (content, _) in enumerate(ODD.values())}}
MIXED |= {"7/good.png": GOOD, "7/good-again.png": GOOD, "7/notes.pdf": b"%PDF"}
LATIN, UTF16, UTF32 = ("ein B\u00e4r".encode(name) for name in ("latin-1", "utf-16", "utf-32"))


def captioned(caption: bytes) -> dict[str, bytes]:
    return {"1.png": GOOD, "1.txt": caption}


def listed(text: bytes) -> dict[str, bytes]:
    return {"1.png": GOOD, "metadata.jsonl": text}


DIFFUSERS_LORA = tuple(f"unet.mid_block.attentions.0.to_q.lora_{side}.weight" for side in "AB")
KOHYA_LORA = tuple(f"lora_unet_mid_block_attentions_0_to_q.lora_{side}.weight" for side in ("down", "up"))
XL_LORA = tuple(f"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_{side}.weight" for side in ("down", "up"))
NO_MODEL = "holds LoRA adapters, which change a model and are none; name the model itself."

CASES: dict[str, Case] = {
    **{
        f"teacher: {name}": Case("teacher", words, partial(model, family, change))
        for name, (family, change, words) in AT_ONCE.items()
    },
    "teacher: a LoRA of diffusers": Case("teacher", NO_MODEL, partial(adapters, DIFFUSERS_LORA, "lora.safetensors")),
    "teacher: a LoRA of kohya": Case("teacher", NO_MODEL, partial(adapters, KOHYA_LORA, "lora.safetensors")),
    "teacher: a LoRA of another base": Case("teacher", NO_MODEL, partial(adapters, XL_LORA, "based.safetensors")),
    "teacher: a LoRA in a folder": Case(
        "teacher", NO_MODEL, partial(adapters, DIFFUSERS_LORA, "lora/pytorch_lora_weights.safetensors")
    ),
    "prompts: not there": Case("prompts", "There is no prompt file", partial(prompts, None)),
    "prompts: none": Case("prompts", "holds no prompt; write one a line", partial(prompts, b"")),
    "prompts: empty ones": Case("prompts", "holds no prompt; write one a line", partial(prompts, b"\n  \n\t\r\n")),
    "prompts: in Latin-1": Case("prompts", "is not UTF-8 text (line 1); save it", partial(prompts, LATIN)),
    "prompts: in UTF-16": Case("prompts", "is UTF-16 text; save it as UTF-8", partial(prompts, UTF16)),
    "prompts: in UTF-32": Case("prompts", "is UTF-32 text; save it as UTF-8", partial(prompts, UTF32)),
    "prompts: a picture": Case("prompts", "is not UTF-8 text", partial(prompts, GOOD)),
    "prompts: a novel in a line": Case("prompts", "10,001 characters; write one", partial(prompts, b"a" * 10_001)),
    "prompts: longer than the encoder takes": Case(
        "prompts",
        "1 of 2 prompts are longer than the text encoder of",
        partial(prompts, b"a cat\n" + b"x" * 99),
        weights=True,
        kind="warning",
    ),
    "prompts: blank and double ones": Case(
        "prompts",
        "left out 3 of 5 lines: 2 blank, 1 duplicates.",
        partial(prompts, b"a bear\n\na cat\n  \na bear\n"),
        weights=True,
        kind="warning",
    ),
    "pictures: no folder": Case(
        "data", "There is no folder or zip", lambda folder, models: {"method": "gdd", "data": str(folder / "away")}
    ),
    "pictures: none": Case("data", "can be used (it is empty)", partial(pictures, {})),
    "pictures: a broken zip": Case("data", "is no whole zip", partial(pictures, {"all.zip": b"PK\x03\x04"})),
    **{
        f"pictures: {name}": Case("data", f"can be used ({words})", partial(pictures, {"7/odd.png": content}))
        for name, (content, words) in ODD.items()
    },
    "pictures: without classes": Case("data", "has no classes, and the teacher", partial(pictures, {"1.png": GOOD})),
    "pictures: of another class": Case("data", "has a class cats, and the", partial(pictures, {"cats/1.png": GOOD})),
    "pictures: of every odd kind": Case(
        "data",
        "left out 10 of 16 files: 4 broken, 1 animated or of several pages, 2 too large, "
        "1 in a colour mode that is not read (F), 1 duplicates, 1 not pictures.",
        partial(pictures, MIXED),
        weights=True,
        kind="warning",
    ),
    "captions: none": Case("data", "has no captions; write one", partial(pictures, {"1.png": GOOD}, teacher="sd")),
    "captions: an empty one": Case(
        "data", "can be used (1 with an empty caption)", partial(pictures, captioned(b" \n"), teacher="sd")
    ),
    "captions: in Latin-1": Case(
        "data", "(1 with a caption that is not UTF-8 text)", partial(pictures, captioned(LATIN), teacher="sd")
    ),
    "captions: in UTF-16": Case(
        "data", "(1 with a caption that is not UTF-8 text)", partial(pictures, captioned(UTF16), teacher="sd")
    ),
    "captions: too long to be one": Case(
        "data", "(1 with a caption too long to be one)", partial(pictures, captioned(b"a" * 10_001), teacher="sd")
    ),
    "captions: a list in UTF-16": Case("data", "is UTF-16 text; save", partial(pictures, listed(UTF16), teacher="sd")),
    "captions: a list that is no JSON": Case(
        "data", "Line 1 of metadata.jsonl", partial(pictures, listed(b"1.png: a bear"), teacher="sd")
    ),
    "captions: a list of other files": Case(
        "data",
        "names none of the files there",
        partial(pictures, listed(b'{"file_name": "2.png", "text": "a bear"}'), teacher="sd"),
    ),
    "captions: one of two in Latin-1": Case(
        "data",
        "left out 1 of 2 files: 1 with a caption that is not UTF-8 text.",
        partial(pictures, {**captioned(b"a bear"), "2.png": WHOLE, "2.txt": LATIN}, teacher="sd"),
        weights=True,
        kind="warning",
    ),
}
"""What is wrong -> how it is told."""


def recipe(case: Case, folder: Path, models: Models) -> Values:
    """The recipe that is wrong so, whose files are written into a folder."""
    folder.mkdir()
    few = {"steps": 1, "batch_size": 1, "preview_every": 0}
    return {"teacher": "digits", "method": "dmd2", "training": few, **case.make(folder, models)}


def asked(*arguments: str | Path) -> tuple[float, Values]:
    """Seconds until the command line has answered, and what."""
    begun = time.perf_counter()
    command = [sys.executable, "-P", "-m", "backend", *map(str, arguments), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    return took, json.loads(ended.stdout or json.dumps({"error": ended.stderr}))


def each(folder: Path) -> Iterator[tuple[str, float, bool]]:
    """Every misconfiguration with how long its answer took, and whether the promise is for it."""
    models = cache(lambda name: tiny.write(name, folder / name))
    asked("new", folder / "lab")
    asked("describe")  # so that a catalogue is kept, as it is once the window was open
    for name, case in CASES.items():
        place = folder / "case"
        wish = folder / "recipe.json"
        wish.write_text(json.dumps(recipe(case, place, models)), encoding="utf-8")
        seconds, answer = asked("preflight", folder / "lab", "--recipe", wish)
        shutil.rmtree(place)
        said = [one for one in answer.get("findings", []) if one["kind"] == case.kind]
        if case.kind == "warning":  # there may be others
            said = [one for one in said if one["field"] == case.field]
        if [one["field"] for one in said] != [case.field] or case.words not in said[0]["words"]:
            raise RuntimeError(f"{name}: {answer}")
        yield name, seconds, not case.weights


def main() -> None:
    """Print them all, and of those that need no weights the median and the slowest."""
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, seconds, promised) in enumerate(each(Path(folder)), 1):
            took += [seconds] if promised else []
            late = "  TOO LATE" if promised and seconds > PROMISED else "" if promised else "  with weights"
            print(f"{number:>3}  {seconds:5.2f} s  {name}{late}", flush=True)
    print(f"median {statistics.median(took):.2f} s, the slowest {max(took):.2f} s of {PROMISED:g} s")


if __name__ == "__main__":
    main()
