"""Pictures of every side of a comparison: a grid of all samples, or one sample as large as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPixmap

from app.models.comparison import Camera, Comparison, ComparisonError, Grid

TILE = 256
"""Pictures in a grid are reduced to this many pixels across, so that a grid of large ones stays small in memory."""
WORDS_BEFORE = "The picture {0} is missing or damaged; draw the comparison again."


class PictureLayers:
    """What is painted of pictures. Made in any thread; painted in the window's.

    sample: the one that is shown, None for the grid of all.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.whole = open_pictures([comparison.sides[0].files[0]])[0].size()
        tile = self.whole.scaled(TILE, TILE, Qt.AspectRatioMode.KeepAspectRatio)
        self._tile = self.whole if self.whole.width() <= TILE and self.whole.height() <= TILE else tile
        gap = max(1, round(self._tile.width() / 16))
        self.grid = Grid(comparison.count, comparison.columns, self._tile.width(), self._tile.height(), gap)
        self._sheets = [self._sheet(side.files) for side in comparison.sides]
        self._pixmaps: dict[int, QPixmap] = {}
        self._ones: tuple[int, list[QPixmap], list[QImage]] | None = None
        self._means: dict[tuple[int, int, int | None], float] = {}
        self._differences: dict[tuple[int, int, int | None, float], QPixmap] = {}
        self.sample: int | None = None

    def _sheet(self, files: Sequence[Path]) -> QImage:
        sheet = QImage(QSize(*(round(extent) for extent in self.grid.size)), QImage.Format.Format_ARGB32_Premultiplied)
        sheet.fill(Qt.GlobalColor.transparent)
        painter = QPainter(sheet)
        for index, image in enumerate(open_pictures(files)):
            if image.size() != self._tile:
                mode = Qt.TransformationMode.SmoothTransformation
                image = image.scaled(self._tile, Qt.AspectRatioMode.IgnoreAspectRatio, mode)  # noqa: PLW2901
            painter.drawImage(QPointF(*self.grid.origin(index)), image)
        painter.end()
        return sheet

    @property
    def size(self) -> tuple[float, float]:
        """Of what is shown, in pixels of pictures."""
        return self.grid.size if self.sample is None else (self.whole.width(), self.whole.height())

    def sample_at(self, x: float, y: float) -> int | None:
        """The sample at a point of what is shown; None in a gap and outside."""
        if self.sample is None:
            return self.grid.at(x, y)
        return self.sample if 0 <= x < self.size[0] and 0 <= y < self.size[1] else None

    def place_of(self, sample: int, camera: Camera, pane: tuple[float, float]) -> QRectF:
        """Where a sample lies in a pane."""
        is_alone = self.sample is not None
        width, height = self.size if is_alone else (self.grid.width, self.grid.height)
        left, top = (0.0, 0.0) if is_alone else self.grid.origin(sample)
        x, y = camera.to_view(left, top, pane)
        return QRectF(x, y, width * camera.scale, height * camera.scale)

    @property
    def needs_files(self) -> bool:
        """Whether a sample alone is sharper than its tile, so that its files should be given to `give`."""
        return self._tile != self.whole

    def files_of(self, sample: int) -> list[Path]:
        """The files of one sample, one for each side."""
        return [side.files[sample] for side in self.comparison.sides]

    def give(self, sample: int, images: list[QImage]) -> None:
        """The whole pictures of one sample."""
        self._ones = (sample, [QPixmap.fromImage(image) for image in images], images)
        self._differences.clear()
        self._means.clear()

    def release(self) -> None:
        """Show all samples again, and let go of what can be made again: other pictures need the memory."""
        self.sample, self._ones = None, None
        self._pixmaps.clear()
        self._differences.clear()

    def _image(self, side: int) -> QImage:
        if self.sample is None:
            return self._sheets[side]
        if self._ones is not None and self._ones[0] == self.sample:
            return self._ones[2][side]
        x, y = (round(place) for place in self.grid.origin(self.sample))
        return self._sheets[side].copy(x, y, self._tile.width(), self._tile.height())

    def _pixmap(self, side: int) -> QPixmap:
        if self.sample is None:
            if side not in self._pixmaps:
                self._pixmaps[side] = QPixmap.fromImage(self._sheets[side])
            return self._pixmaps[side]
        if self._ones is not None and self._ones[0] == self.sample:
            return self._ones[1][side]
        return QPixmap.fromImage(self._image(side))

    def paint(self, painter: QPainter, side: int, camera: Camera, pane: tuple[float, float]) -> None:
        """One side."""
        self._draw(painter, self._pixmap(side), camera, pane)

    def paint_difference(
        self, painter: QPainter, a: int, b: int, camera: Camera, pane: tuple[float, float], gain: float
    ) -> None:
        """The absolute difference of two sides, `gain` times as bright; black where they agree."""
        key = (a, b, self.sample, gain)
        if key not in self._differences:
            self._differences.clear()
            self._differences[key] = QPixmap.fromImage(amplified(self._image(a), self._image(b), gain))
        self._draw(painter, self._differences[key], camera, pane)

    def difference(self, a: int, b: int) -> float | None:
        """The mean absolute difference of two sides over what is shown, 0 to 1."""
        key = (a, b, self.sample)
        if key not in self._means:
            self._means[key] = mean_difference(self._image(a), self._image(b))
        return self._means[key]

    def _draw(self, painter: QPainter, pixmap: QPixmap, camera: Camera, pane: tuple[float, float]) -> None:
        x0, y0 = camera.to_view(0, 0, pane)
        width, height = (extent * camera.scale for extent in self.size)
        # Enlarged pixels stay pixels: what is compared must not be smoothed away.
        smooth = width * painter.device().devicePixelRatioF() < pixmap.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.drawPixmap(QRectF(x0, y0, width, height), pixmap, QRectF(pixmap.rect()))


def open_pictures(files: Sequence[Path]) -> list[QImage]:
    """Picture files; may be called in any thread. Raises `ComparisonError` where one cannot be read."""
    found = []
    for file in files:
        image = QImage(str(file))
        if image.isNull():
            raise ComparisonError(WORDS_BEFORE.format(file))
        found.append(image.convertToFormat(QImage.Format.Format_ARGB32))
    return found


def amplified(a: QImage, b: QImage, gain: float) -> QImage:
    """|a - b| times `gain`, cut off at white; as opaque as `a`."""
    first, second = _pixels(a), _pixels(b)
    found = first.copy()
    difference = np.abs(first[..., :3].astype(np.float32) - second[..., :3]) * gain
    found[..., :3] = np.minimum(difference, 255)
    found[..., :3][first[..., 3] == 0] = 0
    found = np.ascontiguousarray(found)
    height, width = found.shape[:2]
    return QImage(found.data, width, height, width * 4, QImage.Format.Format_ARGB32).copy()


def mean_difference(a: QImage, b: QImage) -> float:
    """The mean of |a - b| over what is not transparent, 0 to 1."""
    first, second = _pixels(a), _pixels(b)
    shown = first[..., 3] > 0
    return float(np.abs(first[shown][:, :3].astype(np.float32) - second[shown][:, :3]).mean() / 255)


def _pixels(image: QImage) -> NDArray[np.uint8]:
    """(H, W, 4) bytes: blue, green, red, alpha."""
    whole = image.convertToFormat(QImage.Format.Format_ARGB32)
    rows = np.frombuffer(whole.constBits(), np.uint8).reshape(whole.height(), whole.bytesPerLine())
    return rows[:, : 4 * whole.width()].reshape(whole.height(), whole.width(), 4).copy()
