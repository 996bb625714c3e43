"""The bundled emoji: named pictures of 64x64 pixels in colour, each its own class, one picture a class."""

from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from backend.datasets import ImageSet
from backend.resources import RESOURCES

SIZE = 64
LICENCE = "Apache-2.0, Noto Color Emoji, Copyright 2013-2017 Google Inc."


@cache
def names() -> tuple[str, ...]:
    """What the pictures show, such as "honeybee": Unicode's names in lower case, in the order of the pictures."""
    return tuple((RESOURCES / "emoji" / "names.txt").read_text(encoding="utf-8").splitlines())


def pixels() -> tuple[Tensor, tuple[str, ...]]:
    """The pictures, (N, 3, 64, 64) uint8, on white, and their names."""
    with Image.open(RESOURCES / "emoji" / "emoji.webp") as file:
        sheet = torch.from_numpy(np.array(file.convert("RGB")))
    rows, columns = sheet.shape[0] // SIZE, sheet.shape[1] // SIZE
    tiles = sheet.reshape(rows, SIZE, columns, SIZE, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3, SIZE, SIZE)
    return tiles[: len(names())].contiguous(), names()


@cache
def emoji() -> ImageSet:
    """Images (N, 3, 64, 64); the label of a picture is its place in `names`."""
    pictures, called = pixels()
    return ImageSet.of(pictures, torch.arange(len(pictures)), names=called, licence=LICENCE)
