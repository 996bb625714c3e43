"""A finished export: the preview beside what a fresh process made of it, the number, and the lines that use it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSize, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QPainter, QPaintEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from app import look
from app.models.export_words import Shown, verdict
from app.widgets.elided_label import ElidedLabel
from app.widgets.icon_button import IconButton


class Sheet(QWidget):
    """One sheet of pictures, as large as there is room for it."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self._picture = QPixmap()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def show_picture(self, data: bytes) -> None:
        """Show this PNG, or nothing."""
        self._picture = QPixmap()
        self._picture.loadFromData(data)
        self.updateGeometry()
        self.update()

    @property
    def has_picture(self) -> bool:
        """Whether there is one."""
        return not self._picture.isNull()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        if self._picture.isNull():
            return 0
        return round(min(width, self._picture.width()) * self._picture.height() / self._picture.width())

    def sizeHint(self) -> QSize:
        return QSize(60 * look.SPACE, self.heightForWidth(60 * look.SPACE))

    def minimumSizeHint(self) -> QSize:
        return QSize(30 * look.SPACE, self.heightForWidth(30 * look.SPACE))

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._picture.isNull():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        size = self._picture.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        painter.drawPixmap(0, 0, size.width(), size.height(), self._picture)
        painter.end()


class Snippet(QPlainTextEdit):
    """Lines of a program, all of them in sight: too long ones go on in the next, and what is around it scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().documentLayout().documentSizeChanged.connect(self._fit)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = max(1, round(self.document().size().height()))  # which a plain text counts in lines
        inside = self.fontMetrics().lineSpacing() * lines + 2 * self.document().documentMargin()
        margins = self.contentsMargins()
        self.setFixedHeight(round(inside) + margins.top() + margins.bottom() + 2 * look.GAP)


class VerificationView(QWidget):
    """What is known of one export; nothing is shown until there is one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: Shown | None = None
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(look.MARGIN)
        whole.addWidget(self._check())
        whole.addWidget(self._usage())
        whole.addStretch(1)
        self.hide()

    def show_export(self, shown: Shown | None) -> None:
        """Show this one; None shows nothing."""
        self._shown = shown
        self.setVisible(shown is not None)
        if shown is None:
            return
        words, tone = verdict(shown.export.verification, self.tr)
        self.words.setText(words)
        look.set_tone(self.words, tone)
        self.path.setText(shown.export.path)
        self.gone.setVisible(not shown.there)
        self.open.setEnabled(shown.there)
        for sheet, data in ((self.expected, shown.expected), (self.made, shown.made)):
            sheet.show_picture(data)
        self._pictures.setVisible(self.expected.has_picture or self.made.has_picture)
        self.snippet.setPlainText(shown.snippet)
        self._card_of_usage.setVisible(bool(shown.snippet))

    def _check(self) -> QWidget:
        frame, inside = look.card()
        inside.addWidget(look.label(self.tr("Check"), "heading"))
        self.words = look.label("", "strong", wraps=True)
        inside.addWidget(self.words)
        self._pictures = QWidget()
        row = QHBoxLayout(self._pictures)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(look.MARGIN)
        self.expected = Sheet(self.tr("The preview's pictures"))
        self.made = Sheet(self.tr("What plain diffusers made"))
        for sheet, words in (
            (self.expected, self.tr("Preview")),
            (self.made, self.tr("Plain diffusers, fresh process")),
        ):
            column = QVBoxLayout()
            column.setSpacing(look.SPACE)
            column.addWidget(look.label(words, "caption", "muted"))
            column.addWidget(sheet)
            column.addStretch(1)
            row.addLayout(column, 1)
        inside.addWidget(self._pictures)
        self.gone = look.label(
            self.tr("Its files are no longer there; they were moved or deleted."), "body", "warning", wraps=True
        )
        inside.addWidget(self.gone)
        self.path = ElidedLabel("body", "muted")
        self.open = IconButton("folder-open", self.tr("Open folder"))
        self.open.clicked.connect(self._open)
        self.copy = IconButton("copy", self.tr("Copy path"))
        self.copy.clicked.connect(lambda: QApplication.clipboard().setText(self.path.text()))
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        row.addWidget(self.path, 1)
        row.addWidget(self.open)
        row.addWidget(self.copy)
        inside.addLayout(row)
        return frame

    def _usage(self) -> QWidget:
        frame, inside = look.card()
        head = QHBoxLayout()
        head.addWidget(look.label(self.tr("How to use it"), "heading"))
        head.addStretch(1)
        self.copy_snippet = IconButton("copy", self.tr("Copy"))
        self.copy_snippet.setAccessibleName(self.tr("Copy how to use it"))
        self.copy_snippet.clicked.connect(self._copy_snippet)
        head.addWidget(self.copy_snippet)
        inside.addLayout(head)
        self.snippet = Snippet()
        self.snippet.setReadOnly(True)
        self.snippet.setTabChangesFocus(True)
        self.snippet.setAccessibleName(self.tr("Lines of Python that use the export"))
        code = look.font("body")
        code.setFamilies(["DejaVu Sans Mono", "Menlo", "Consolas", "monospace"])
        self.snippet.setFont(code)
        inside.addWidget(self.snippet)
        self._card_of_usage = frame
        return frame

    def _copy_snippet(self) -> None:
        QApplication.clipboard().setText(self.snippet.toPlainText())

    def _open(self) -> None:
        if self._shown is not None:
            path = Path(self._shown.export.path)
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))
