"""What an eye would find wrong with a window, found by a program: names, focus, cut and overlapping text."""

from collections.abc import Callable, Iterator
from html import unescape
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QModelIndex, QPoint, QRect, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QImage
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListView,
    QPlainTextEdit,
    QScrollArea,
    QScrollBar,
    QSizeGrip,
    QSplitter,
    QSplitterHandle,
    QStyle,
    QStyleOptionComboBox,
    QStyleOptionFrame,
    QTabBar,
    QTextEdit,
    QToolButton,
    QTreeView,
    QWidget,
)

from app.widgets.two_lines import TwoLines

INTERACTIVE = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
)


def controls(root: QWidget) -> Iterator[QWidget]:
    """Everything that a person can operate in what is shown, without the parts that Qt makes inside of controls."""
    for widget in root.findChildren(QWidget):
        if not widget.isVisibleTo(root) or not isinstance(widget, INTERACTIVE):
            continue
        if isinstance(widget, QScrollBar | QSizeGrip | QSplitterHandle) or widget.objectName().startswith("qt_"):
            continue
        parent = widget.parentWidget()
        inside = isinstance(parent, QAbstractSpinBox | QComboBox | QLineEdit | QTabBar)
        in_view = isinstance(parent, QAbstractItemView) or isinstance(
            parent and parent.parentWidget(), QAbstractItemView
        )
        if not inside and not in_view:
            yield widget


def describe(widget: QWidget) -> str:
    """A widget as a person who looks for it in the code needs it."""
    text = widget.text() if isinstance(widget, QAbstractButton | QLabel | QLineEdit) else ""
    chain, parent = type(widget).__name__, widget.parentWidget()
    while parent is not None and len(chain) < 120:
        chain, parent = f"{type(parent).__name__} > {chain}", parent.parentWidget()
    return f"{chain} {text!r} {widget.objectName()!r}"


def nameless(root: QWidget) -> list[str]:
    """Controls that a screen reader has nothing to say about."""
    buddies = {label.buddy() for label in root.findChildren(QLabel) if label.buddy() is not None}
    found = []
    for widget in controls(root):
        said = widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton) else "")
        if not said.strip() and widget not in buddies:
            found.append(describe(widget))
    return found


def unreachable(root: QWidget) -> list[str]:
    """Enabled controls that Tab never gets to: by their focus policy, or left out of the chain."""
    chain, widget = set(), root.nextInFocusChain()
    while widget is not None and widget is not root and widget not in chain:
        chain.add(widget)
        widget = widget.nextInFocusChain()
    found = []
    for control in controls(root):
        proxy = control.focusProxy() or control
        if not control.isEnabled():
            continue
        grouped = isinstance(control, QAbstractButton) and _is_one_of_several(control)
        if (not proxy.focusPolicy() & Qt.FocusPolicy.TabFocus and not grouped) or (proxy not in chain and not grouped):
            found.append(describe(control))
    return found


def _is_one_of_several(button: QAbstractButton) -> bool:
    """Of buttons that exclude each other, Tab reaches the one that is chosen and arrow keys the others."""
    group = button.group()
    return button.autoExclusive() or (group is not None and group.exclusive())


FOCUS_MARGIN = 4
"""About a control, in which its focus may be drawn as well."""
SEEN = 48
"""Of 255 in a colour, by which a pixel must be another to be seen to be."""
PART = 100
"""Pixels of a line about the smallest part of a widget that may have the focus in its place: a tab, a tile."""
CARET = 2
"""As wide as a text cursor may be, which alone shows no focus."""


def focus_unseen(root: QWidget, looked_at: set[QWidget] | None = None) -> list[str]:
    """Whatever takes the keyboard focus and looks the same with it and without.

    A focus is seen where at least as many pixels are others as a line about half of the widget has, or about one of its
    parts, in more columns than a text cursor.

    root: of an active window. looked_at: widgets that are left out; those found here are added.
    """
    done: set[QWidget] = set() if looked_at is None else looked_at
    before, found = QApplication.focusWidget(), []
    for widget in [*controls(root), *root.findChildren(QWidget)]:
        takes = widget.isEnabled() and widget.isVisibleTo(root) and not widget.size().isEmpty()
        # What has a proxy gives the focus away, and the proxy is looked at by itself.
        takes = takes and widget.focusPolicy() != Qt.FocusPolicy.NoFocus and widget.focusProxy() is None
        if not takes or widget in done or (not widget.focusPolicy() & _TAB and not isinstance(widget, INTERACTIVE)):
            continue
        done.add(widget)
        if not _is_seen_to_have_focus(widget):
            found.append(describe(widget))
    if before is not None:
        before.setFocus(Qt.FocusReason.OtherFocusReason)
    return found


_TAB = Qt.FocusPolicy.TabFocus


def _is_seen_to_have_focus(control: QWidget) -> bool:
    """Whether it looks different with the focus; it has it afterwards."""
    frame = control.parentWidget() or control
    area = control.geometry() if frame is not control else control.rect()
    area = area.adjusted(-FOCUS_MARGIN, -FOCUS_MARGIN, FOCUS_MARGIN, FOCUS_MARGIN)
    focused = QApplication.focusWidget()
    if focused is not None:
        focused.clearFocus()
    without = _pixels(frame, area)
    control.setFocus(Qt.FocusReason.OtherFocusReason)  # by Tab, the text of a field is selected as well
    assert control.hasFocus(), f"{describe(control)} does not take the focus"
    changed = np.abs(_pixels(frame, area) - without).max(2) > SEEN
    ratio = control.devicePixelRatioF()
    long_enough = changed.sum() >= ratio * min(control.width() + control.height(), PART)
    return bool(long_enough and changed.any(0).sum() > CARET * ratio)


def _pixels(widget: QWidget, area: QRect) -> NDArray[np.int16]:
    """What is painted there, also where it is scrolled out of sight: (height, width, 3), 0 to 255."""
    shot = widget.grab(area).toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(shot.constBits(), np.uint8).reshape(shot.height(), shot.bytesPerLine())
    return rows[:, : 3 * shot.width()].reshape(shot.height(), shot.width(), 3).astype(np.int16)


LONG = 32
"""Letters; what is longer is a name that a person gave, a path or a sentence, and may be cut where its tool tip has
all of it. The program's own words are shorter and never cut."""


def clipped(root: QWidget) -> list[str]:
    """Whatever shows words that do not fit into it."""
    found = []
    for widget in root.findChildren(QWidget):
        if not widget.isVisibleTo(root) or widget.size().isEmpty() or not _is_shown(widget, root):
            continue
        words = next((cut(widget) for kinds, cut in CUT if isinstance(widget, kinds)), [])
        found += [f"{describe(widget)}: {of}" for of in words]
    return found


def _may_be_cut(words: str, tip: str, least: int) -> bool:
    """Whether they have more letters than `least`, so that they need not fit, and the tool tip has them all."""
    return len(words) > least and " ".join(words.split()) in " ".join(unescape(tip).split())


def _cut(words: str, tip: str, have: float, needed: float, least: int = LONG) -> list[str]:
    """The fault of words that have so much room and need so much, if it is one."""
    if needed <= have + 1 or _may_be_cut(words, tip, least):
        return []
    return [f"{words!r} has {have:.0f} and needs {needed:.0f}"]


def _cut_label(label: QLabel) -> list[str]:
    words, size = label.text(), label.size()
    if not words:
        return []
    if label.property("elided"):
        metrics = QFontMetricsF(label.font())
        return _cut(words, label.toolTip(), label.contentsRect().width(), metrics.horizontalAdvance(words))
    if label.wordWrap():
        return _cut(words, "", size.height(), label.heightForWidth(size.width()))
    hint = label.sizeHint()
    return _cut(words, "", size.width(), hint.width()) + _cut(words, "", size.height(), hint.height())


TOOL_FRAME = 6
"""Border and padding that the style sheet has above and below the words of a tool button. Qt's hint is higher than the
least height that the style sheet allows, and a page of little height is laid out by that one."""


def _cut_button(button: QAbstractButton) -> list[str]:
    words, size, hint = button.text(), button.size(), button.minimumSizeHint()
    if not words:
        return []
    high = button.fontMetrics().height() + 2 * TOOL_FRAME if isinstance(button, QToolButton) else hint.height()
    return _cut(words, "", size.width(), hint.width()) + _cut(words, "", size.height(), min(high, hint.height()))


def _cut_field(field: QLineEdit) -> list[str]:
    """A field's text, or what stands in it while it is empty."""
    words = field.text() or field.placeholderText()
    option = QStyleOptionFrame()
    option.initFrom(field)
    option.lineWidth = 1
    inner = field.style().subElementRect(QStyle.SubElement.SE_LineEditContents, option, field)
    margins = field.textMargins()
    have = inner.width() - margins.left() - margins.right() - 2 * FIELD_MARGIN
    have -= sum(button.width() for button in field.findChildren(QToolButton) if button.isVisible() and field.text())
    return _cut(words, field.toolTip(), have, QFontMetricsF(field.font()).horizontalAdvance(words))


FIELD_MARGIN = 2
"""Which Qt leaves at both ends of a field's text."""


def _cut_combo(combo: QComboBox) -> list[str]:
    option = QStyleOptionComboBox()
    option.initFrom(combo)
    option.editable = combo.isEditable()
    part = QStyle.SubControl.SC_ComboBoxEditField
    have = combo.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, combo).width()
    words = combo.currentText()
    # Its list, which opens as wide as its words, shows them whole, whatever their length.
    return _cut(words, combo.toolTip(), have, QFontMetricsF(combo.font()).horizontalAdvance(words), least=0)


def _cut_header(header: QHeaderView) -> list[str]:
    model, found = header.model(), []
    for section in range(header.count()):
        place = header.sectionViewportPosition(section)
        wide = header.sectionSize(section)
        if header.isSectionHidden(section) or place >= header.viewport().width() or place + wide <= 0:
            continue
        words = str(model.headerData(section, header.orientation()) or "")
        tip = str(model.headerData(section, header.orientation(), Qt.ItemDataRole.ToolTipRole) or "")
        if words and header.orientation() == Qt.Orientation.Horizontal:
            found += _cut(words, tip, wide, header.sectionSizeHint(section))
    return found


def _cut_tabs(bar: QTabBar) -> list[str]:
    """A tab is as wide as its words in the weight that they have once it is chosen."""
    found = []
    if bar.sizeHint().width() > bar.width() + 1:
        names = [bar.tabText(at) for at in range(bar.count())]
        found.append(f"the tabs {names} have {bar.width()} and need {bar.sizeHint().width()}")
    font = QFont(bar.font())
    font.setWeight(QFont.Weight.DemiBold)
    for at in range(bar.count()):
        words = bar.tabText(at)
        found += _cut(words, bar.tabToolTip(at), bar.tabRect(at).width(), QFontMetricsF(font).horizontalAdvance(words))
    return found


def _cut_items(view: QAbstractItemView) -> list[str]:
    """The rows in sight of a list, a table or a tree."""
    model, found = view.model(), []
    if model is None or isinstance(view, QHeaderView):
        return []
    columns = 1 if isinstance(view, QListView) else model.columnCount()
    for row in range(model.rowCount()):
        for column in range(columns):
            index = model.index(row, column)
            place = view.visualRect(index)
            if place.isEmpty() or not place.intersects(view.viewport().rect()):
                continue
            found += _cut_item(view, index, place)
    return found


def _cut_item(view: QAbstractItemView, index: QModelIndex, place: QRect) -> list[str]:
    tip = str(index.data(Qt.ItemDataRole.ToolTipRole) or "")
    delegate = view.itemDelegate()
    if isinstance(view, QListView):
        place.setWidth(min(place.width(), view.viewport().width()))
    if isinstance(delegate, TwoLines):
        room = delegate.room(place).width()
        lines = delegate.lines(index)
        return [
            o for words, font in lines for o in _cut(words, tip, room, QFontMetricsF(font).horizontalAdvance(words))
        ]
    words, have = str(index.data() or ""), place.width()
    if isinstance(view, QTreeView) and view.isFirstColumnSpanned(index.row(), index.parent()):
        have = view.viewport().width()
    return _cut(words, tip, have, view.sizeHintForIndex(index).width()) if words else []


CUT: tuple[tuple[tuple[type[QWidget], ...], Callable[[Any], list[str]]], ...] = (
    ((QLabel,), _cut_label),
    ((QAbstractButton,), _cut_button),
    ((QLineEdit,), _cut_field),
    ((QComboBox,), _cut_combo),
    ((QTabBar,), _cut_tabs),
    ((QHeaderView,), _cut_header),
    ((QAbstractItemView,), _cut_items),
)
"""How each kind of widget is looked at."""


def overlapping(root: QWidget) -> list[str]:
    """Pairs of labels and buttons beside each other whose areas share something."""
    shown = [
        (w, QRect(w.mapTo(root, QPoint(0, 0)), w.size()))
        for w in root.findChildren(QWidget)
        if isinstance(w, QLabel | QAbstractButton) and w.isVisibleTo(root) and not w.size().isEmpty()
    ]
    found = []
    for index, (one, area) in enumerate(shown):
        for other, other_area in shown[index + 1 :]:
            same = one.parentWidget() is other.parentWidget()
            if same and area.intersected(other_area).width() > 1 and area.intersected(other_area).height() > 1:
                found.append(f"{describe(one)} and {describe(other)}")
    return found


def sideways(root: QWidget) -> list[str]:
    """Pages that must be scrolled sideways, and parts of a splitter that reach over each other or out of it."""
    found = []
    for area in root.findChildren(QScrollArea):
        if area.isVisibleTo(root) and area.widget() is not None and area.horizontalScrollBar().maximum() > 0:
            found.append(f"{describe(area)} is {area.horizontalScrollBar().maximum()} too narrow")
    for splitter in root.findChildren(QSplitter):
        if not splitter.isVisibleTo(root):
            continue
        parts = map(splitter.widget, range(splitter.count()))
        areas = [part.geometry() for part in parts if part is not None and part.isVisibleTo(root)]
        if any(not splitter.rect().contains(area) for area in areas) or any(
            one.intersects(other) for one, other in pairwise(areas)
        ):
            found.append(f"{describe(splitter)}: {[area.getRect() for area in areas]} in {splitter.size().toTuple()}")
    return found


def _is_shown(widget: QWidget, root: QWidget) -> bool:
    """Whether any of it is inside all that contains it: what is scrolled away is not cut."""
    area = QRect(widget.mapTo(root, QPoint(0, 0)), widget.size())
    return area.intersects(root.rect())
