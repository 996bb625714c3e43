"""A list of many things in groups: found by any word about them, chosen by mouse and keyboard."""

import re

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from pytestqt.qtbot import QtBot

from app import look
from app.widgets.grouped_list import KEY, NARROW, WIDE, Entry, GroupedList

ENTRIES = [
    Entry("a", "Alpha", "first", "Greek", "letter"),
    Entry("n", "Novel", "long", "Words", "prose"),
    Entry("b", "Beta", "second", "Greek", "letter try"),
]


@pytest.fixture
def shown(qtbot: QtBot) -> GroupedList:
    found = GroupedList("Things", "Find a thing")
    qtbot.addWidget(found)
    found.set_entries(ENTRIES)
    found.show()
    return found


def rows(found: GroupedList) -> list[str]:
    items = [found.list.item(row) for row in range(found.list.count())]
    return [item.text() for item in items if not item.isHidden()]


def test_groups_stand_in_the_order_in_which_they_come(shown: GroupedList) -> None:
    assert rows(shown) == ["Greek", "Alpha", "Beta", "Words", "Novel"]
    assert shown.keys() == ["a", "b", "n"]


def test_a_thing_is_found_by_all_words_about_it(shown: GroupedList) -> None:
    shown.search_field.setText("LETTER sec")
    assert rows(shown) == ["Greek", "Beta"]
    shown.search_field.setText("words")
    assert rows(shown) == ["Words", "Novel"]
    shown.search_field.setText("nowhere")
    assert rows(shown) == []
    assert shown.nothing.isVisible()
    shown.search_field.clear()
    assert len(rows(shown)) == 5
    assert not shown.nothing.isVisible()


def test_the_keyboard_passes_over_headings(shown: GroupedList, qtbot: QtBot) -> None:
    chosen: list[str] = []
    shown.chosen.connect(chosen.append)
    shown.list.setFocus()
    for key in (Qt.Key.Key_Home, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_End, Qt.Key.Key_Home):
        qtbot.keyClick(shown.list, key)
    assert chosen == ["a", "b", "n", "a"]  # End was there already


def test_showing_what_is_chosen_says_nothing(shown: GroupedList) -> None:
    chosen: list[str] = []
    shown.chosen.connect(chosen.append)
    shown.show_chosen("n")
    assert chosen == []
    assert shown.list.currentItem().data(KEY) == "n"
    shown.show_chosen("no such key")
    assert shown.list.currentItem() is None


def test_what_will_not_do_is_paler_and_says_why(qtbot: QtBot) -> None:
    found = GroupedList("Things", "Find a thing")
    qtbot.addWidget(found)
    found.set_entries([*ENTRIES[:1], Entry("c", "Gamma", "no", "Greek", "", "Gamma is not for you; choose another.")])
    found.show()
    rows_of = {found.list.item(row).data(KEY): row for row in range(found.list.count())}
    image = found.list.viewport().grab().toImage()

    def darkest(key: str) -> int:
        area = found.list.visualItemRect(found.list.item(rows_of[key]))
        return min(
            image.pixelColor(x, y).lightness() for x in range(area.width()) for y in range(area.top(), area.bottom())
        )

    assert darkest("c") >= look.colour("muted").lightness() > darkest("a")
    item = found.list.item(rows_of["c"])
    assert "Gamma is not for you; choose another." in item.toolTip()
    assert item.data(Qt.ItemDataRole.AccessibleTextRole) == "Gamma: Gamma is not for you; choose another."
    with qtbot.waitSignal(found.chosen) as chosen:
        qtbot.mouseClick(found.list.viewport(), Qt.MouseButton.LeftButton, pos=found.list.visualItemRect(item).center())
    assert chosen.args == ["c"]


def test_it_takes_less_where_too_little_would_be_left_beside_it(shown: GroupedList) -> None:
    shown.fit_into(900)
    assert shown.width() == WIDE
    shown.fit_into(650)
    assert shown.width() == NARROW


def test_where_there_is_room_no_method_s_title_is_cut(qtbot: QtBot) -> None:
    files = sorted((look.RESOURCES.parent / "backend" / "methods").glob("[!_]*.py"))
    titles = [re.search(r'^    title="(.+)",$', file.read_text(encoding="utf-8"), re.MULTILINE) for file in files]
    found = GroupedList("Methods", "Find a method")
    qtbot.addWidget(found)
    found.set_entries([Entry(str(i), title[1], "", "All", "") for i, title in enumerate(titles) if title])
    found.fit_into(900)
    found.resize(WIDE, 400)
    found.show()
    room = found.list.viewport().width() - 2 * look.GAP
    metrics = QFontMetrics(look.font("strong"))
    shown = [found.list.item(row).text() for row in range(1, found.list.count())]
    assert len(shown) >= 30
    assert [title for title in shown if metrics.horizontalAdvance(title) > room] == []
