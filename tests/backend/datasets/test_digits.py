from pathlib import Path

import numpy as np
import pytest
import torch

from backend.bundled import digits_images
from backend.datasets import DataError, ImageSet, load_data
from backend.datasets.digits import digits
from backend.resources import RESOURCES


def test_the_script_writes_the_bundled_file_again(tmp_path: Path) -> None:
    digits_images.write(tmp_path)
    for name in ("digits.npz", "LICENSE.txt"):
        assert (tmp_path / name).read_bytes() == (RESOURCES / "digits" / name).read_bytes()


def test_images_are_the_originals_enlarged() -> None:
    data = digits()
    assert data.images.shape == (1797, 1, 16, 16)
    assert data.images.dtype == torch.float32
    assert data.images.min() == -1
    assert data.images.max() == 1
    with np.load(RESOURCES / "digits" / "digits.npz", allow_pickle=False) as file:
        small, labels = file["images"].astype(np.float32), file["labels"]
    # Bilinear, half a pixel off: an inner pixel is 9/16, 3/16, 3/16, 1/16 of its four neighbours.
    expected = (9 * small[:, 2, 3] + 3 * small[:, 2, 4] + 3 * small[:, 3, 3] + small[:, 3, 4]) / 16 / 8 - 1
    np.testing.assert_allclose(data.images[:, 0, 5, 7].numpy(), expected, atol=1e-6)
    assert data.labels.tolist() == labels.tolist()


def test_parts_are_fixed_disjoint_and_complete() -> None:
    every, train, held_out = digits("all"), digits("train"), digits("held-out")
    assert (len(train), len(held_out)) == (1400, 397)
    pictures = [{image.numpy().tobytes() for image in data.images} for data in (every, train, held_out)]
    assert pictures[1] | pictures[2] == pictures[0]
    assert not pictures[1] & pictures[2]
    # The digest a recipe carries: another split or another enlargement is other data.
    assert train.digest == "e2deb3ab70637c3b5913b1218ae9a6e7cfc5bbbbce3fca3820cee58dcf0175df"


def test_digest_tells_images_labels_and_names_apart() -> None:
    images, labels = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    same = ImageSet.of(images, labels, ("a", "b")).digest
    assert ImageSet.of(images.clone(), labels.clone(), ("a", "b"), licence="other").digest == same
    others = [
        ImageSet.of(images + 1, labels, ("a", "b")),
        ImageSet.of(images, 1 - labels, ("a", "b")),
        ImageSet.of(images, labels, ("a", "c")),
        ImageSet.of(images.reshape(4, 2, 1), labels, ("a", "b")),
    ]
    assert len({same, *(other.digest for other in others)}) == 5


def test_draw_depends_on_the_generator_alone() -> None:
    data = digits("train")
    generator = torch.Generator().manual_seed(3)
    first = data.draw(64, generator)
    state = generator.get_state()
    second = data.draw(64, generator)
    torch.manual_seed(99)
    generator.set_state(state)
    again = data.draw(64, generator)
    assert torch.equal(second[0], again[0])
    assert torch.equal(second[1], again[1])
    assert not torch.equal(first[0], second[0])


def test_draw_takes_each_image_equally_often_and_keeps_its_label() -> None:
    data = ImageSet.of(torch.arange(4.0)[:, None], torch.arange(4))
    images, labels = data.draw(40_000, torch.Generator().manual_seed(0))
    assert torch.equal(images[:, 0].long(), labels)
    # 10,000 each, with a standard deviation of 87
    assert (labels.bincount() - 10_000).abs().max() < 5 * 87


def test_digits_by_name() -> None:
    assert load_data("digits", (1, 16, 16)).digest == digits("train").digest
    assert load_data("digits-held-out", (1, 16, 16)).digest == digits("held-out").digest
    with pytest.raises(DataError, match=r"1x16x16.*3x32x32"):
        load_data("digits", (3, 32, 32))
