import hashlib
import unicodedata
from pathlib import Path

import pytest
import torch

from backend.bundled import emoji_pictures
from backend.datasets.emoji import emoji, names, pixels


def test_every_picture_has_a_name_of_its_own() -> None:
    pictures, called = pixels()
    assert pictures.shape == (1392, 3, 64, 64)
    assert pictures.dtype == torch.uint8
    assert len(called) == len(set(called)) == len(pictures)
    assert len({hashlib.sha256(picture.numpy().tobytes()).digest() for picture in pictures}) == len(pictures)


def test_names_are_unicode_s_in_the_order_of_the_code_points() -> None:
    points = [ord(unicodedata.lookup(name)) for name in names()]
    assert points == sorted(points)
    assert all(name == name.lower() for name in names())


@pytest.mark.parametrize(
    ("name", "brighter", "darker"),
    [("blue heart", 2, 0), ("green heart", 1, 2), ("large red square", 0, 2), ("large blue square", 2, 0)],
)
def test_pictures_lie_beside_their_names(name: str, brighter: int, darker: int) -> None:
    # A cell out of its place would show something else: of these it is known which of two channels is the brighter.
    pictures, called = pixels()
    middle = pictures[called.index(name), :, 28:36, 28:36].float().mean((1, 2))
    assert middle[brighter] > middle[darker] + 50


def test_pictures_are_on_white() -> None:
    pictures, _ = pixels()
    corners = pictures[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    # A few glyphs, such as flags of a full square, reach the corners.
    assert (corners == 255).all(1).float().mean() > 0.97


def test_set_is_in_range_and_numbered_by_name() -> None:
    data = emoji()
    images, labels = data.batch(torch.tensor([0, len(data) - 1]))
    assert data.names[int(labels[1])] == names()[-1]
    assert images.min() >= -1
    assert images.max() <= 1


def test_drawn_again_it_is_the_same(tmp_path: Path) -> None:
    if not emoji_pictures.FONT.exists():
        pytest.skip("the font is needed only to draw the pictures again")
    font = emoji_pictures.font_of(emoji_pictures.FONT)
    drawn = emoji_pictures.glyph(unicodedata.lookup("honeybee"), font)
    assert drawn is not None
    pictures, called = pixels()
    pixels_now = torch.frombuffer(bytearray(drawn.tobytes()), dtype=torch.uint8).reshape(64, 64, 3).permute(2, 0, 1)
    assert torch.equal(pixels_now, pictures[called.index("honeybee")])
    assert emoji_pictures.glyph("\u0e01", font) is None
