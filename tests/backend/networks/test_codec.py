import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor

from backend.networks.codec import Codec, Identity, from_uint8, to_uint8


def test_identity_changes_nothing_whatever_the_shape() -> None:
    codec: Codec = Identity()
    for shape in [(3, 2), (2, 1, 4, 4), (2, 3, 2, 4, 4)]:
        x = torch.randn(shape, requires_grad=True)
        assert codec.encode(x) is x
        assert codec.decode(x) is x


def test_every_byte_comes_back() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    pixels = from_uint8(every)
    assert pixels.dtype == torch.float32
    assert pixels.min() == -1
    assert pixels.max() == 1
    assert torch.equal(to_uint8(pixels), every)
    assert torch.equal(to_uint8(pixels.double()), every)


def test_bytes_are_clamped_and_rounded_to_the_nearest() -> None:
    step = 2 / 255
    pixels = torch.tensor([-1.0, -1 + 0.49 * step, -1 + 0.51 * step, 1 - 0.49 * step, 1 - 0.51 * step, 1.0])
    assert to_uint8(pixels).tolist() == [0, 0, 1, 255, 254, 255]
    beyond = torch.tensor([-3.0, 3.0, -torch.inf, torch.inf, torch.nan])
    assert to_uint8(beyond).tolist() == [0, 255, 0, 255, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_not_rounded_twice(dtype: torch.dtype) -> None:
    pixels = torch.linspace(-1.1, 1.1, 4001).to(dtype)
    assert torch.equal(to_uint8(pixels), to_uint8(pixels.double()))


def test_bytes_are_those_that_diffusers_writes() -> None:
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    theirs = VaeImageProcessor().postprocess(pixels, output_type="pil")
    for picture, ours in zip(theirs, to_uint8(pixels), strict=True):
        assert np.array_equal(np.asarray(picture), ours.permute(1, 2, 0).numpy())
