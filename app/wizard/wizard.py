"""The wizard: from a teacher to a run that has started.

Seven pages in any order over one draft. It can be started from every page as soon as the whole recipe is valid; a
start checks the recipe first, unless this very recipe was found to be fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import shiboken6
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.drafts import Draft
from app.screens import Screen
from app.session import Session
from app.translations import said
from app.turns import turns
from app.widgets.icon_button import action
from app.widgets.step_list import Mark
from app.wizard import choices
from app.wizard.check import Check
from app.wizard.choices import Candidate
from app.wizard.compute import ComputePage
from app.wizard.data import DataPage
from app.wizard.dropped import contents
from app.wizard.frame import Awaited, Frame
from app.wizard.method import MethodPage
from app.wizard.page import Page, State
from app.wizard.review import ReviewPage
from app.wizard.starting import Order, Starting
from app.wizard.step_words import step_words
from app.wizard.student import StudentPage
from app.wizard.teacher import TeacherPage
from app.wizard.teacher_lookup import TeacherLookup
from app.wizard.training import TrainingPage
from backend.contract.catalogue import Catalogue
from backend.contract.errors import UserError
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

LOOK_MILLISECONDS = 400
"""A folder that is being written is looked at when the writing rests."""


class Wizard(Screen):
    """A new run. pages: by their keys, in order."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.draft = Draft(session.project, self)
        self.undo_stack = self.draft.undo_stack
        self.check = Check(session, self)
        self.check.answered.connect(self._take_answer)  # before a start that waited for it goes on
        self.starting = Starting(session, self.check, self._order, self)
        self.lookup = TeacherLookup(session, self)
        self.state: State | None = None
        self._wanted: object = None
        self._candidates: tuple[Candidate, ...] = ()
        self._is_busy = False
        self._in_sight: QWidget | None = None
        self._catalogue = Catalogue(version="")
        self._visited: set[str] = set()
        self._behind: list[str] = []
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(LOOK_MILLISECONDS)
        self._rest.timeout.connect(self._look_at_teacher)

        self.pages: dict[str, Page] = {}

    def build(self) -> Iterator[None]:
        self.frame = Frame(self)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.frame)
        self.setFocusProxy(self.frame.steps)
        yield
        self.teacher, self.review = TeacherPage(), ReviewPage(self.check)
        self._add_page(self.teacher)
        yield
        for kind in (DataPage, MethodPage, StudentPage, TrainingPage, ComputePage):
            page = kind()
            yield
            self._add_page(page)
            yield
        self._add_page(self.review)
        self._make_actions()
        self.frame.steps.currentRowChanged.connect(self._show_page)
        self.frame.turned.connect(self._turn)
        self.frame.again_wanted.connect(self._ask_again)
        self.frame.cancel.clicked.connect(self.starting.cancel)
        self.frame.queue.clicked.connect(self.enqueue)
        self.frame.start.clicked.connect(self.start)
        self._put_footer_last()
        self.review.check_wanted.connect(self.starting.check_now)
        self.review.cancel_wanted.connect(self.starting.cancel)
        self.check.changed.connect(self._show_start)
        self.starting.changed.connect(self._show_start)
        self.starting.begins.connect(lambda: self.frame.start.setEnabled(False))
        self.starting.started.connect(self._started)
        self.starting.failed.connect(self._not_started)
        self.starting.refused.connect(self._refuse_start)
        self.draft.changed.connect(self._refresh)
        self.draft.loaded.connect(self._loaded)
        self.lookup.changed.connect(self._refresh)
        backend, project = self.session.backend, self.session.project
        backend.catalogue_arrived.connect(self._know)
        backend.catalogue_failed.connect(self._say_no_catalogue)
        project.changed.connect(self._ask_about_runs)
        yield
        backend.want_catalogue(ahead=True)

    def _add_page(self, page: Page) -> None:
        self.pages[page.key] = page
        self.frame.steps.add_step(page.title)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.verticalScrollBar().rangeChanged.connect(self._keep_in_sight)
        self.frame.pages.addWidget(area)
        area.setWidget(page)
        page.edited.connect(self._take)
        page.finished.connect(self.draft.end_typing)
        page.page_wanted.connect(self.go_to)
        page.says.connect(self.says)

    # What it begins with

    def show_item(self, item: object) -> None:
        """Begin from a recipe's values, or with a folder that was dropped."""
        self._wanted = item
        self._use_wanted()

    def _use_wanted(self) -> None:
        if self.state is None or self._wanted is None:
            return
        item, self._wanted = self._wanted, None
        if isinstance(item, Mapping):
            values = choices.whole(item, self.state.catalogue)
            self.draft.edit({**values, "name": ""}, self.tr("begin from another recipe"))
            self.go_to("review")
        elif isinstance(item, Path):
            self._take_path(item)

    def _take_path(self, path: Path) -> None:
        what = contents(path)
        if what == "recipe":
            try:
                recipe = Recipe.from_json(path.read_bytes())
            except OSError as error:
                words = self.tr("{0} cannot be read ({1}); check that it is there and that you may read it.")
                self.says.emit(words.format(path.name, error.strerror))
                return
            except UserError as error:
                self.says.emit(f"{path.name}: {error}")
                return
            self.show_item(recipe.model_dump(mode="json"))
        elif what == "data":
            self.draft.edit({"data": str(path)}, self.tr("a folder of pictures"))
            self.go_to("data", "data")
        elif what == "prompts":
            self.draft.edit({"prompts": str(path)}, self.tr("prompts"))
            self.go_to("data", "prompts")
        else:  # what it is, or why it is no teacher, is said beside its field
            self.draft.edit({"teacher": str(path)}, self.tr("a teacher of my own"))
            self.go_to("teacher", "teacher")

    def _know(self, catalogue: Catalogue) -> None:
        is_first = self.state is None
        if is_first:
            self.draft.load(choices.fresh(catalogue))
            self._catalogue = catalogue
        elif self.state is not None:
            self.state = State(self.draft.values, catalogue)
            self._refresh()

    def _loaded(self) -> None:
        self.state = State(self.draft.values, self._catalogue)
        self.frame.work()
        self.frame.steps.setCurrentRow(0)
        self._ask_about_runs()
        self._use_wanted()

    def _say_no_catalogue(self, words: str) -> None:
        if self.state is None:
            self.frame.refuse(words)

    def _ask_again(self) -> None:
        self.frame.wait()
        self.session.backend.refresh_catalogue()

    # Editing

    def _take(self, change: Mapping[str, Any], words: str, typing: str) -> None:
        self._in_sight = None
        self.draft.edit(change, words, typing)

    def _refresh(self) -> None:
        """Show the recipe as it is now."""
        if self.state is None or not self.draft.values:
            return
        values, catalogue = self.draft.values, self.state.catalogue
        if values != self.state.values:
            self.check.failed = ""
        key = str(values["teacher"])
        teacher = self.lookup.card(key, catalogue)
        refusal = self.lookup.refusal(key, catalogue)
        found = choices.problems(values, catalogue, teacher, refusal, self._candidates)
        self.state = State(values, catalogue, teacher, refusal, found, self._candidates)
        self.state = replace(self.state, found=self._found_by_check(self.state))
        if teacher is None and not refusal:
            self._rest.start()
        self.starting.heed_edit()
        self._behind = list(self.pages)
        if self.isVisible():
            self._bring_up(self._behind[max(self.frame.steps.currentRow(), 0)])
        turns().add(self._bring_up_one)
        self._show_steps()
        self._show_start()

    @property
    def is_settled(self) -> bool:
        """Whether every page shows the recipe as it is now."""
        return not self._behind

    def _bring_up(self, key: str) -> None:
        """Have a page show the recipe as it is now. The one in sight does at once, the others in a turn each."""
        if key in self._behind and self.state is not None:
            self._behind.remove(key)
            while self.pages[key].prepare(self.state.catalogue):
                pass
            self.pages[key].show_state(self.state)
            self._put_footer_last()

    def _bring_up_one(self) -> bool:
        key = self._behind[0] if self._behind else ""
        if key and self.state is not None and not self.pages[key].prepare(self.state.catalogue):
            self._bring_up(key)
        return bool(self._behind)

    def _put_footer_last(self) -> None:
        """Tab goes from the list through the page to the buttons below, also when a page has made fields anew."""
        last, passed = self.window().previousInFocusChain(), set[QWidget]()
        while last is not None and (last in self.frame.footer or last.focusPolicy() == Qt.FocusPolicy.NoFocus):
            if last in passed:  # the chain is a ring, and nothing else in it takes the focus
                return
            passed.add(last)
            last = last.previousInFocusChain()
        assert last is not None
        for button in self.frame.footer:
            QWidget.setTabOrder(last, button)
            last = button

    def _look_at_teacher(self) -> None:
        if self.state is not None and self.lookup.card(self.draft.values["teacher"], self.state.catalogue) is None:
            self.lookup.look_at(str(self.draft.values["teacher"]))

    # Pages

    def go_to(self, key: str, name: str = "") -> None:
        """Show a page, and in it the value of a dotted name."""
        self.frame.steps.setCurrentRow(list(self.pages).index(key))
        if name:
            self.pages[key].show_setting(name)
            self._scroll_to(self.pages[key].focusWidget())

    def _scroll_to(self, widget: QWidget | None) -> None:
        """Bring a part of the page that is shown into sight, and keep it there while the page is laid out."""
        self._in_sight = widget
        QTimer.singleShot(0, self, self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        area, widget = self.frame.pages.currentWidget(), self._in_sight
        if widget is None or not shiboken6.isValid(widget):  # a form that an undo has made anew
            self._in_sight = None
        elif isinstance(area, QScrollArea) and area.isAncestorOf(widget):
            area.ensureWidgetVisible(widget)

    def _show_page(self, row: int) -> None:
        key = list(self.pages)[row]
        self._bring_up(key)
        self.frame.pages.setCurrentIndex(row)
        self._in_sight = None
        self._visited.add(key)
        self.frame.back.setEnabled(row > 0)
        self.frame.next.setEnabled(row < len(self.pages) - 1)
        self.draft.end_typing()
        if key == "teacher" and self.state is not None and self.state.refusal:
            self._look_at_teacher()
            self._scroll_to(self.teacher.folder_card)
        if key == "review":
            self.starting.check_now()
        self._show_steps()

    def _turn(self, by: int) -> None:
        row = self.frame.steps.currentRow() + by
        if 0 <= row < len(self.pages):
            self.frame.steps.setCurrentRow(row)

    def _show_steps(self) -> None:
        if self.state is None:
            return
        wrong = {problem.page for problem in self.state.all_found if problem.blocks}
        words = step_words(self.state, self.tr)
        for row, key in enumerate(self.pages):
            mark: Mark = "wrong" if key in wrong else "done" if key in self._visited else "open"
            self.frame.steps.show_step(row, words[key], mark)

    # Starting

    def start(self) -> None:
        """Check the recipe if that was not done, and start it."""
        self.starting.begin(queues=False)

    def enqueue(self) -> None:
        """The same, with a place in the queue instead of a process."""
        self.starting.begin(queues=True)

    def _order(self) -> Order | None:
        """What a start is about now; None while something is to be mended."""
        state = self.state
        if state is None or state.problems:
            return None
        name, card = str(self.draft.values.get("name") or "").strip() or None, state.method
        return Order(choices.recipe_of(self.draft.values, state.catalogue), name, card.settings if card else {})

    def _refuse_start(self) -> None:
        self.go_to("review")
        self._show_start()

    def _started(self, run: int) -> None:
        if self.draft.values.get("name"):  # the next run wants a name of its own
            self.draft.edit({"name": ""}, self.tr("name of the run"))
        self._show_start()
        queues = self.starting.queues
        if self.isVisible():
            self.leads_to.emit("run", run)
        else:  # whoever has gone on to something else is not taken from it
            self.says.emit(self.tr("The new run is in the queue.") if queues else self.tr("The new run starts."))

    def _not_started(self, words: str) -> None:
        self._show_start()
        self.frame.say_wrong(words)

    def _show_start(self) -> None:
        if self.state is None:
            return
        awaited: Awaited = ("queue" if self.starting.queues else "start") if self.starting.is_waiting else ""
        refused = "" if self.state.problems or awaited else self._refused_by_check(self.state)
        self.frame.show_start([said(problem.words) for problem in self.state.problems], awaited, refused)
        self.frame.queue.setVisible(self._is_busy)
        self.start_action.setEnabled(self.frame.start.isEnabled())

    def _take_answer(self) -> None:
        if self.state is not None and self._found_by_check(self.state) != self.state.found:
            self._refresh()

    def _found_by_check(self, state: State) -> list[choices.Problem]:
        """What the last check said of this recipe, if it was about this one."""
        answer = self.check.answer
        if state.problems or answer is None or not answer["findings"]:
            return []
        is_about = self.check.is_about(choices.recipe_of(state.values, state.catalogue))
        return choices.found_by_check(answer) if is_about else []

    def _refused_by_check(self, state: State) -> str:
        """What the last check said against this recipe, in a sentence."""
        blocking = (said(problem.words) for problem in state.found if problem.blocks)
        return self.check.failed or next(blocking, "")

    # The project's other runs

    def _ask_about_runs(self) -> None:
        if self.isVisible() and self.state is not None:
            self.session.project.ask(_runs, self._know_runs, key="wizard-runs")

    def _know_runs(self, found: tuple[tuple[Candidate, ...], bool]) -> None:
        if found != (self._candidates, self._is_busy):
            self._candidates, self._is_busy = found
            self._refresh()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.session.backend.catalogue is None:
            self.session.backend.want_catalogue()
        self._ask_about_runs()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.draft.end_typing()

    def _make_actions(self) -> None:
        self.start_action = action(self.tr("Start the run"), self.start, "Ctrl+Return")
        self.start_action.setEnabled(False)
        self._actions = [
            self.start_action,
            action(self.tr("Next page"), lambda: self._turn(1), "Alt+Right"),
            action(self.tr("Previous page"), lambda: self._turn(-1), "Alt+Left"),
            action(self.tr("Check the recipe"), self.starting.check_now),
            action(self.tr("Begin anew with the defaults"), self._begin_anew),
        ]
        self.addActions(self._actions)

    def _begin_anew(self) -> None:
        if self.state is not None:
            self.draft.edit(choices.fresh(self.state.catalogue), self.tr("begin anew"))


def _runs(project: ProjectFile) -> tuple[tuple[Candidate, ...], bool]:
    """The runs that a student can start from, newest first, and whether any has a process."""
    found = []
    for run in reversed(project.runs()):
        kept = project.checkpoints(run.id)
        if kept:
            best = next((checkpoint for checkpoint in reversed(kept) if checkpoint.is_best), kept[-1])
            named = str(run.recipe.get("method", "")), str(run.recipe.get("teacher", ""))
            student = run.recipe.get("student") or {}
            found.append(Candidate(run.id, run.name, *named, best.step, student.get("kind", "full")))
    return tuple(found), bool(project.live_runs())
