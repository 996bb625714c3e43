"""Samples as pictures: what is drawn where."""

import numpy as np
import pytest
import torch
from PIL import Image

from backend import pictures


@pytest.mark.parametrize(("channels", "mode", "size"), [(1, "L", (3, 2)), (3, "RGB", (3, 2)), (4, "L", (12, 2))])
def test_a_sample_of_any_number_of_channels_has_a_picture(channels, mode, size):
    image = pictures.picture(torch.linspace(-1, 1, channels * 6).reshape(channels, 2, 3))
    assert (image.mode, image.size) == (mode, size)
    assert np.asarray(image).min() == 0
    assert np.asarray(image).max() == 255


def test_values_outside_are_clamped():
    image = pictures.picture(torch.tensor([[[-3.0, 0.0, 3.0]]]))
    assert np.asarray(image).tolist() == [[0, 128, 255]]


def test_points_are_drawn_where_they_are():
    image = np.asarray(pictures.scatter(torch.tensor([[1.0, 0.5], [9.0, 9.0]])))
    middle, unit = pictures.SCATTER_SIZE / 2, pictures.SCATTER_SIZE / 2 / pictures.SCATTER_REACH
    (rows, columns) = np.nonzero(image)
    assert len(rows) == 1  # the second lies outside
    assert columns[0] == pytest.approx(middle + unit, abs=1)
    assert rows[0] == pytest.approx(middle - 0.5 * unit, abs=1)  # y grows upwards


def test_tiles_go_row_by_row_and_are_enlarged():
    tiles = [Image.new("L", (2, 1), 10 * i) for i in range(5)]
    page = np.asarray(pictures.tile(tiles, columns=3, scale=2))
    assert page.shape == (4, 12)
    assert page[::2, ::4].tolist() == [[0, 10, 20], [30, 40, pictures.PAPER]]
    apart = np.asarray(pictures.tile(tiles, columns=3, scale=2, gap=1))
    assert apart.shape == (5, 14)
    assert apart[0, :10].tolist() == [0, 0, 0, 0, pictures.PAPER, 10, 10, 10, 10, pictures.PAPER]


def test_small_pictures_are_enlarged_on_a_sheet_and_large_ones_are_not():
    assert pictures.sheet(torch.zeros(3, 1, 16, 16), columns=10).size == (96, 32)
    assert pictures.sheet(torch.zeros(3, 3, 64, 64), columns=2).size == (128, 128)
    assert pictures.sheet(torch.zeros(3, 2), columns=2).size == (256, 256)


def test_a_picture_survives_its_png():
    image = pictures.picture(torch.rand(3, 5, 4) * 2 - 1)
    assert np.array_equal(np.asarray(pictures.open_png(pictures.png(image))), np.asarray(image))


def test_a_comparison_leaves_the_pictures_as_they_are_under_their_words():
    one, other = Image.new("L", (300, 50), 7), Image.new("RGB", (20, 50), (1, 2, 3))
    page = np.asarray(pictures.comparison([("one", one), ("a name wider than its picture", other)]))
    assert (page == 7).all(2).sum() == 300 * 50
    assert (page == (1, 2, 3)).all(2).sum() == 20 * 50
