"""Packs scikit-learn's copy of the UCI optical digits: `python -m backend.bundled.digits_images`.

Writes resources/digits/digits.npz with `images` (1797, 8, 8) uint8 in 0..16, `labels` (1797,) uint8 in 0..9
and `order` (1797,) uint16, a permutation whose first 1,400 entries are the training images and the rest the
held-out ones. The permutation is stored so that no later random number generator can move the split.
"""

from pathlib import Path

import numpy as np

from backend.resources import RESOURCES

SPLIT_SEED = 0

LICENCE = """\
digits.npz holds the Optical Recognition of Handwritten Digits data set

    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.
    https://doi.org/10.24432/C50P49

under the Creative Commons Attribution 4.0 International licence (CC BY 4.0),
https://creativecommons.org/licenses/by/4.0/

It is the 1,797 images of the data set's test part, as scikit-learn distributes them (load_digits). What was
changed: nothing but the packing. The values 0..16 and the labels 0..9 are stored as bytes, and an array
`order` was added that says which images this project trains on and which it holds out.
"""


def write(folder: Path) -> None:
    """Write digits.npz and LICENSE.txt into `folder`; the bytes are the same each time."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (the program runs without scikit-learn)

    data = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data.target))
    folder.mkdir(parents=True, exist_ok=True)
    # Not compressed: the bytes of a deflate stream depend on the zlib that wrote it.
    np.savez(
        folder / "digits.npz",
        images=data.images.astype(np.uint8),
        labels=data.target.astype(np.uint8),
        order=order.astype(np.uint16),
    )
    (folder / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")


if __name__ == "__main__":
    write(RESOURCES / "digits")
