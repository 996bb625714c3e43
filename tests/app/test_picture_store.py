"""Pictures come from another thread, smaller where they are large, and never outgrow their bytes."""

import io

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from app.picture_store import WHOLE, ByteCache, PictureStore, decoded
from app.session import Session
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Sample

from .conftest import ask, picture_bytes


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return out.getvalue()


def image(pixels: int) -> QImage:
    made = QImage(pixels, 1, QImage.Format.Format_RGB32)
    made.fill(0)
    return made


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 300)), max_size=60))
def test_the_cache_keeps_its_limit_and_counts_rightly(puts: list[tuple[int, int]]) -> None:
    cache = ByteCache(limit=2000)
    for sample, pixels in puts:
        cache.put((sample, 0), image(pixels))
        assert cache.bytes <= 2000
        assert cache.get((sample, 0)) is not None
    kept = [cache.get((sample, 0)) for sample in range(10)]
    assert cache.bytes == sum(found.sizeInBytes() for found in kept if found is not None)


def test_what_was_looked_at_longest_ago_goes_first() -> None:
    cache = ByteCache(limit=1000)
    for sample in (1, 2):
        cache.put((sample, 0), image(100))
    cache.get((1, 0))
    cache.put((3, 0), image(100))
    assert ((1, 0) in cache, (2, 0) in cache, (3, 0) in cache) == (True, False, True)


def test_a_large_picture_is_made_smaller_and_a_small_one_is_not() -> None:
    assert decoded(png(800, 400), 512).size().toTuple() == (512, 256)
    assert decoded(png(800, 400), WHOLE).size().toTuple() == (800, 400)
    assert decoded(png(16, 16), 512).size().toTuple() == (16, 16)
    assert decoded(b"no picture", 512).isNull()


def previews(qtbot: QtBot, session: Session) -> list[Sample]:
    found: list[Sample] = ask(qtbot, session, lambda project: project.samples_after(1))
    return found


def test_no_plugin_of_qt_is_asked_what_a_picture_is() -> None:
    """That of SVG takes a lock of signals, on which the reading thread and the window's once waited for each other."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'
    assert not QImage.fromData(svg).isNull()
    assert decoded(svg).isNull()


def test_pictures_that_are_wanted_arrive(qtbot: QtBot, session: Session) -> None:
    samples = previews(qtbot, session)[:20]
    store = PictureStore(session.project)
    assert store.get(samples[0]) is None
    store.want("grid", samples)
    qtbot.waitUntil(lambda: all(store.get(sample) is not None for sample in samples))
    first = store.get(samples[0])
    assert first is not None
    assert first == decoded(picture_bytes(0))


def test_only_what_is_wanted_last_is_loaded(qtbot: QtBot, session: Session) -> None:
    samples = previews(qtbot, session)
    store = PictureStore(session.project)
    for start in (0, 20, 40, 60):
        store.want("grid", samples[start : start + 20])
    qtbot.waitUntil(lambda: all(store.get(sample) is not None for sample in samples[60:]))
    assert store.get(samples[30]) is None


def test_a_picture_that_cannot_be_shown_says_why(qtbot: QtBot, session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        broken = project.add_sample(1, step=1, kind="preview", position=0, image=b"no picture")
        large = project.add_sample(1, step=1, kind="preview", position=1, image=b"0" * 300_000)
        for file in (project.files / "pictures").rglob("*"):
            if file.is_file():
                file.unlink()
    samples = [sample for sample in previews(qtbot, session) if sample.id in (broken, large)]
    store = PictureStore(session.project)
    store.want("grid", samples)
    qtbot.waitUntil(lambda: all(store.why_missing(sample) for sample in samples))
    assert "damaged" in store.why_missing(samples[0])
    assert "put the folder back" in store.why_missing(samples[1])
