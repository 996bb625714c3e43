"""Pictures of samples, decoded off the window's thread and kept in a cache that is bounded in bytes.

Whoever shows pictures says which it wants, nearest first; saying so again replaces what it wanted before, so that
scrubbing through a history loads what is looked at and not what was passed on the way. It knows no widget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QSize, Qt, Signal
from PySide6.QtGui import QImage, QImageReader

from app.open_project import OpenProject
from app.translations import said
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Sample

LIMIT_BYTES = 256 * 2**20
GRID_EDGE = 512
"""Pixels of the longer edge beyond which a picture of a grid is made smaller; enough at twice the usual scale."""
WHOLE = 0
"""As an edge: the picture as it was recorded."""
AT_ONCE = 12
"""Pictures of one question to the project: few, so that other questions need not wait for long."""

Key = tuple[int, int]


class ByteCache:
    """Images by sample and edge; gives up those that were looked at longest ago when they outgrow their bytes."""

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self.limit, self.bytes = limit, 0
        self._images: OrderedDict[Key, QImage] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._images

    def __len__(self) -> int:
        return len(self._images)

    def get(self, key: Key) -> QImage | None:
        """The image, which counts as looked at."""
        found = self._images.get(key)
        if found is not None:
            self._images.move_to_end(key)
        return found

    def put(self, key: Key, image: QImage) -> None:
        """Keep an image; the newest is kept whatever its size."""
        if key in self._images:
            self.bytes -= self._images.pop(key).sizeInBytes()
        self._images[key] = image
        self.bytes += image.sizeInBytes()
        while self.bytes > self.limit and len(self._images) > 1:
            self.bytes -= self._images.popitem(last=False)[1].sizeInBytes()


@dataclass(frozen=True)
class _Found:
    """What became of one wanted picture. words: why there is none."""

    key: Key
    image: QImage | None
    words: str = ""


class PictureStore(QObject):
    """arrived: pictures that someone wanted are here, or are known to be missing."""

    arrived = Signal()

    def __init__(self, project: OpenProject, parent: QObject | None = None, limit: int = LIMIT_BYTES) -> None:
        super().__init__(parent)
        self._project = project
        self.cache = ByteCache(limit)
        self._missing: dict[int, str] = {}
        self._wanted: dict[str, list[tuple[Sample, int]]] = {}
        self._asking = False

    def get(self, sample: Sample, edge: int = GRID_EDGE) -> QImage | None:
        """The picture, None while it is not here."""
        return self.cache.get((sample.id, edge))

    def why_missing(self, sample: Sample) -> str:
        """One sentence where a picture cannot be shown, else empty."""
        return self._missing.get(sample.id, "")

    def want(self, who: str, samples: Sequence[Sample], edge: int = GRID_EDGE) -> None:
        """Load these, the first ones first; replaces what the same `who` wanted before."""
        self._wanted[who] = [(sample, edge) for sample in samples]
        self._load()

    def _load(self) -> None:
        if self._asking:
            return
        chunk: list[tuple[Sample, int]] = []
        for wanted in self._wanted.values():
            while wanted and len(chunk) < AT_ONCE:
                sample, edge = wanted.pop(0)
                if (sample.id, edge) not in self.cache and sample.id not in self._missing:
                    chunk.append((sample, edge))
        if chunk:
            self._asking = True
            self._project.ask(lambda project: [_read(project, *wanted) for wanted in chunk], self._take)

    def _take(self, found: list[_Found]) -> None:
        self._asking = False
        for one in found:
            if one.image is None:
                self._missing[one.key[0]] = said(one.words)
            else:
                self.cache.put(one.key, one.image)
        self.arrived.emit()
        self._load()


def _read(project: ProjectFile, sample: Sample, edge: int) -> _Found:
    key = (sample.id, edge)
    try:
        image = decoded(project.image(sample), edge)
    except UserError as error:
        return _Found(key, None, str(error))
    if image.isNull():
        return _Found(key, None, f"The picture of sample {sample.id} cannot be read; its bytes are damaged.")
    return _Found(key, image)


def decoded(content: bytes, edge: int = WHOLE) -> QImage:
    """A PNG, made smaller where its longer edge exceeds `edge`; null when it cannot be read."""
    buffer = QBuffer()
    buffer.setData(QByteArray(content))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    # Told the format, Qt asks none of its plugins. That of SVG connects signals to look at a text, and so waits for a
    # lock under which the window's thread may be waiting for the interpreter, which this thread holds.
    reader = QImageReader(buffer, QByteArray(b"png"))
    reader.setAutoDetectImageFormat(False)
    size = reader.size()
    if edge and size.isValid() and max(size.width(), size.height()) > edge:
        reader.setScaledSize(size.scaled(QSize(edge, edge), Qt.AspectRatioMode.KeepAspectRatio))
    # The form that is drawn without a conversion at each paint.
    return reader.read().convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
