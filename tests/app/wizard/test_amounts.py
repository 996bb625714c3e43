"""Amounts as a person reads them."""

import pytest

from app.wizard.amounts import count, duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (400, "7 min"),
        (3 * 3600 + 1200, "3 h 20 min"),
        (7200, "2 h"),
        (52 * 3600, "2 d 4 h"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_sizes_and_counts():
    assert [size(n) for n in (2048, 700 * 2**20, 3.25 * 2**30)] == ["2 KiB", "700 MiB", "3.2 GiB"]
    assert [count(n) for n in (620401, 1_800_000, 2.5e9)] == ["620,401", "1.8 million", "2.5 billion"]
