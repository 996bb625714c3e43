"""Amounts in words: times, bytes and counts, as rough as they are known."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QCoreApplication

tr = partial(QCoreApplication.translate, "amounts")


def duration(seconds: float) -> str:
    """Such as "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 90:
        return tr("{0} s").format(max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return tr("{0} min").format(minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return tr("{0} h {1} min").format(hours, minutes) if minutes else tr("{0} h").format(hours)
    days, hours = divmod(hours, 24)
    return tr("{0} d {1} h").format(days, hours) if hours else tr("{0} d").format(days)


def size(count: float) -> str:
    """Bytes such as "640 MiB" or "3.2 GiB"."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    if count >= 2**20:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**10:.0f} KiB"


def count(number: float) -> str:
    """Such as "620,401" or "1.8 million"."""
    for least, words in ((1e12, tr("{0} trillion")), (1e9, tr("{0} billion")), (1e6, tr("{0} million"))):
        if number >= least:
            return words.format(f"{number / least:.3g}")
    return f"{number:,.0f}"
