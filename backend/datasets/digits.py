"""The bundled handwritten digits: 1,797 images of 16x16 pixels in one channel, ten classes."""

from functools import cache
from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from backend.datasets import ImageSet
from backend.resources import RESOURCES

Part = Literal["all", "train", "held-out"]

# The names under which a recipe asks for them. Training must never see the held-out images, so the plain
# name is the training part.
PARTS: dict[str, Part] = {"digits": "train", "digits-held-out": "held-out", "digits-all": "all"}

TRAINING_IMAGES = 1400
LICENCE = "CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Optical Recognition of Handwritten Digits"


@cache
def digits(part: Part = "all") -> ImageSet:
    """Images (N, 1, 16, 16) in [-1, 1], labels 0..9; N is 1,797, 1,400 ("train") or 397 ("held-out").

    The originals are 8x8 with values 0..16; they are enlarged bilinearly. The parts are fixed and disjoint.
    """
    with np.load(RESOURCES / "digits" / "digits.npz", allow_pickle=False) as file:
        pixels, labels, order = (torch.from_numpy(file[key].astype(np.int64)) for key in ("images", "labels", "order"))
    small = pixels[:, None].float() / 8 - 1
    images = functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    every = ImageSet.of(images, labels, names=tuple("0123456789"), licence=LICENCE)
    if part == "all":
        return every
    return every.part(order[:TRAINING_IMAGES] if part == "train" else order[TRAINING_IMAGES:])
