"""The visual identity in one place: colours, type, spacing, icons, and the style sheet made of them.

Light or dark follows the system unless a person chose one. Nothing else in the window names a colour, a font size or a
distance in pixels: widgets take them from here, so that a change of scheme reaches everything.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template
from typing import Literal, TypeVar

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFrame,
    QLabel,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

RESOURCES = Path(__file__).resolve().parents[1] / "resources"

SPACE = 4
"""The grid: every margin and gap is a small multiple of it."""
GAP, MARGIN, WIDE = 2 * SPACE, 4 * SPACE, 6 * SPACE
RADIUS = 6
FIELD_HEIGHT = 32
READING_WIDTH = 640
"""As wide as a paragraph stays easy to read."""

Spin = TypeVar("Spin", bound=QAbstractSpinBox)
Field = TypeVar("Field", QLineEdit, QComboBox)
Role = Literal["caption", "body", "strong", "heading", "title"]
POINTS: dict[Role, float] = {"caption": 9.0, "body": 10.0, "strong": 10.0, "heading": 12.5, "title": 18.0}
FAMILY = "Inter"


@dataclass(frozen=True)
class Scheme:
    """Colours by what they are for. Text on `window`, `surface` or `raised` has a contrast of 4.5 at least, what is
    disabled one of 3.

    series: of curves, told apart by the colour-blind too; a curve's slot, not its name, chooses one.
    """

    name: Literal["light", "dark"]
    window: str
    surface: str
    raised: str
    line: str
    strong_line: str
    text: str
    muted: str
    disabled: str
    accent: str
    accent_hover: str
    on_accent: str
    selection: str
    good: str
    warning: str
    bad: str
    series: tuple[str, ...]


LIGHT = Scheme(
    name="light",
    window="#f5f6f8",
    surface="#ffffff",
    raised="#eceff3",
    line="#d9dee6",
    strong_line="#858f9d",
    text="#1a222d",
    muted="#566170",
    disabled="#78828f",
    accent="#0f6e66",
    accent_hover="#0b5a54",
    on_accent="#ffffff",
    selection="#d3ebe8",
    good="#1b6e3c",
    warning="#8a5200",
    bad="#b3261e",
    series=("#0072b2", "#b85c00", "#00795a", "#a8437f", "#5b5bd6", "#7a5c00", "#c0392b", "#4f5b66"),
)
DARK = Scheme(
    name="dark",
    window="#14171b",
    surface="#1b1f25",
    raised="#252a32",
    line="#333a44",
    strong_line="#778292",
    text="#e6eaf0",
    muted="#a3adbb",
    disabled="#808b9b",
    accent="#3cc4b6",
    accent_hover="#5bd3c6",
    on_accent="#06201d",
    selection="#1f4a47",
    good="#6fcf97",
    warning="#f0b35b",
    bad="#ff8a80",
    series=("#56b4e9", "#f0963c", "#3fc79a", "#e58abf", "#a3a3ff", "#e0c44c", "#ff7b6b", "#b8c0ca"),
)

_scheme = LIGHT


def scheme() -> Scheme:
    """The colours in use now."""
    return _scheme


def colour(name: str) -> QColor:
    """One of them, by its name in `Scheme`."""
    return QColor(getattr(_scheme, name))


def series_colour(slot: int) -> QColor:
    """The colour of the curve in that slot. After the last they come again, nearer to the colour of text."""
    again, place = divmod(slot, len(_scheme.series))
    colour_of_slot = QColor(_scheme.series[place])
    if again % 2 == 0:
        return colour_of_slot
    parts = zip(colour_of_slot.getRgb()[:3], colour("text").getRgb()[:3], strict=True)  # type: ignore[index]
    return QColor(*(round(0.55 * own + 0.45 * text) for own, text in parts))


def apply(app: QApplication) -> None:
    """Dress the application, now and whenever the system changes between light and dark."""
    for file in sorted((RESOURCES / "fonts").glob("*.otf")):
        QFontDatabase.addApplicationFont(str(file))
    app.setStyle("Fusion")
    app.setFont(font("body"))
    app.setWindowIcon(app_icon())
    hints = app.styleHints()
    hints.colorSchemeChanged.connect(lambda found: use(app, DARK if found == Qt.ColorScheme.Dark else LIGHT))
    use(app, DARK if hints.colorScheme() == Qt.ColorScheme.Dark else LIGHT)


def choose(app: QApplication, choice: Literal["system", "light", "dark"]) -> None:
    """Follow the system, or not."""
    wanted = {"system": Qt.ColorScheme.Unknown, "light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}[choice]
    app.styleHints().setColorScheme(wanted)
    if choice != "system":  # a platform that knows no schemes does not answer
        use(app, DARK if choice == "dark" else LIGHT)


def use(app: QApplication, wanted: Scheme) -> None:
    """Show everything in these colours."""
    global _scheme  # noqa: PLW0603  (one application has one look)
    _scheme = wanted
    _drawn.cache_clear()
    app.setPalette(_palette(wanted))
    app.setStyleSheet(_style_sheet(wanted))


def font(role: Role = "body") -> QFont:
    """The font of a role in the type scale."""
    chosen = QFont(FAMILY)
    chosen.setPointSizeF(POINTS[role])
    if role in ("strong", "heading", "title"):
        chosen.setWeight(QFont.Weight.DemiBold)
    return chosen


def figures(role: Role = "body") -> QFont:
    """The same with digits of one width, for numbers that change or stand below each other."""
    chosen = font(role)
    chosen.setFeature(QFont.Tag("tnum"), 1)
    return chosen


def label(
    words: str = "", role: Role = "body", tone: str = "text", wraps: bool = False, parent: QWidget | None = None
) -> QLabel:
    """Words in a role and a tone ("text", "muted", "good", "warning", "bad", "accent").

    parent: where many are made at once; a widget that gets its parent later is dressed twice.
    """
    made = QLabel(words, parent)
    made.setFont(font(role))
    set_tone(made, tone)
    made.setWordWrap(wraps)
    made.setTextFormat(Qt.TextFormat.PlainText)
    return made


def tip(words: str) -> str:
    """A tool tip of these words, whatever signs are in them, in lines that fit a screen."""
    return f"<qt>{escape(words)}</qt>" if words else ""


def set_tone(widget: QWidget, tone: str) -> None:
    """Show a label in another tone; it follows the scheme."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        dress_again(widget)


def set_shown(widget: QWidget, on: bool) -> None:
    """Show or hide a part, where it is not so already: Qt lays out what is shown again, and once more."""
    is_hidden = widget.testAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide) and widget.isHidden()
    if is_hidden == on:
        widget.setVisible(on)


def set_progress(bar: QProgressBar, value: int) -> None:
    """Show how far something is, when the window is next painted. Qt by itself paints the whole window at once, in
    the midst of what else is being shown: one long stall in place of two short ones.
    """
    bar.setUpdatesEnabled(False)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)


def dress_again(widget: QWidget) -> None:
    """Have the style sheet see that a property is another; what was never shown will be dressed then."""
    if widget.testAttribute(Qt.WidgetAttribute.WA_WState_Polished):
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def card() -> tuple[QFrame, QVBoxLayout]:
    """A surface with a thin edge that holds what belongs together, and its layout."""
    frame = QFrame()
    frame.setProperty("card", True)
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
    layout.setSpacing(GAP)
    return frame, layout


def tell_whole(field: Field) -> Field:
    """A field for what may be longer than it is wide, as names and paths are: its tool tip is all of it."""
    changed = field.textChanged if isinstance(field, QLineEdit) else field.currentTextChanged
    changed.connect(lambda text: field.setToolTip(tip(text)))
    return field


def padded(box: Spin) -> Spin:
    """A number field with the same margin before its text as every other field, which a style sheet cannot give it."""
    box.lineEdit().setTextMargins(SPACE + 2, 0, 0, 0)
    return box


def icon(name: str, tone: str = "text") -> QIcon:
    """A line icon of `resources/icons` in a colour of the scheme; another where its control is disabled."""
    made = QIcon(_drawn(name, tone))
    made.addPixmap(_drawn(name, "disabled"), QIcon.Mode.Disabled)
    return made


def app_icon() -> QIcon:
    """The application's own icon."""
    return QIcon(str(RESOURCES / "icons" / "app.svg"))


@lru_cache(maxsize=256)
def _drawn(name: str, tone: str) -> QPixmap:
    from PySide6.QtSvg import QSvgRenderer  # noqa: PLC0415  (not needed for the first paint of every window)

    text = (RESOURCES / "icons" / f"{name}.svg").read_text(encoding="utf-8")
    drawing = QSvgRenderer(QByteArray(text.replace("currentColor", getattr(_scheme, tone)).encode()))
    size, ratio = QSize(20, 20), 2.0
    pixmap = QPixmap(size * ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    drawing.render(painter, QRectF(0, 0, size.width() * ratio, size.height() * ratio))
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


def _palette(s: Scheme) -> QPalette:
    made = QPalette()
    roles = QPalette.ColorRole
    for role, name in (
        (roles.Window, s.window),
        (roles.WindowText, s.text),
        (roles.Base, s.surface),
        (roles.AlternateBase, s.raised),
        (roles.Text, s.text),
        (roles.Button, s.surface),
        (roles.ButtonText, s.text),
        (roles.BrightText, s.bad),
        (roles.ToolTipBase, s.raised),
        (roles.ToolTipText, s.text),
        (roles.PlaceholderText, s.muted),
        (roles.Highlight, s.accent),
        (roles.HighlightedText, s.on_accent),
        (roles.Accent, s.accent),
        (roles.Link, s.accent),
        (roles.LinkVisited, s.accent),
        (roles.Light, s.raised),
        (roles.Midlight, s.raised),
        (roles.Mid, s.line),
        (roles.Dark, s.strong_line),
        (roles.Shadow, s.strong_line),
    ):
        made.setColor(role, QColor(name))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(s.disabled))
    made.setColor(QPalette.ColorGroup.Disabled, roles.Highlight, QColor(s.strong_line))
    return made


def _style_sheet(s: Scheme) -> str:
    values = {f.name: getattr(s, f.name) for f in fields(s) if f.name != "series"}
    sizes = {f"{role}_points": points for role, points in POINTS.items()}
    icons = (RESOURCES / "icons").as_posix()
    template = Template((RESOURCES / "style.qss").read_text(encoding="utf-8"))
    return template.substitute(values, **sizes, icons=icons, radius=RADIUS, space=SPACE, gap=GAP, margin=MARGIN)
