"""All runs of the project: found, ordered, compared, queued, and begun again with another recipe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QAction, QCloseEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QStackedWidget,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import look
from app.models.runs_table import RunsModel, as_csv
from app.reading import Question, Reading
from app.runs_commands import RunsCommands
from app.screens import Screen
from app.session import Session
from app.turns import turns
from app.widgets.flow import Flow
from app.widgets.icon_button import IN_FULL, IconButton, action
from app.widgets.recipe_diff import RecipeDiff
from app.widgets.runs_table import RunsTable
from app.widgets.tag_filter import TagFilter
from app.widgets.work_line import WorkLine
from backend.contract.project_file import ProjectFile
from backend.contract.rows import Evaluation, Run, RunRow

if TYPE_CHECKING:
    from app.widgets.pareto import Pareto

JUDGE_MILLISECONDS = 1000
LEAST_MILLISECONDS = 200
"""No more often than this, however much is written."""

Found = tuple[list[RunRow], list[Evaluation]]


class RunsScreen(Screen):
    """All runs of the project. Everything that can be done with the selected ones is an action, in the row of buttons,
    the menu of the table, or the command palette.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._wanted: list[int] = []
        self._found: Found = ([], [])
        self.quality: Pareto | None = None
        self._sorts: dict[str, QAction] = {}
        self.model = RunsModel(self)
        self._clock = QTimer(self)
        self._clock.setInterval(JUDGE_MILLISECONDS)
        self._clock.timeout.connect(self._judge)

    def build(self) -> Iterator[None]:
        self._make_actions()
        self.model.renamed.connect(self.commands.rename)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(look.WIDE, look.MARGIN, look.WIDE, look.MARGIN)
        self._stack = QStackedWidget()
        whole.addWidget(self._stack)
        self._stack.addWidget(self._loading())
        self._stack.addWidget(self._nothing())
        yield
        page = QWidget()
        self._stack.addWidget(page)
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(look.GAP)
        column.addLayout(self._head())
        column.addWidget(self._buttons())
        yield
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setAccessibleName(self.tr("Views of the runs"))
        column.addWidget(self.tabs, 1)
        self.tabs.addTab(self._table_page(), self.tr("Table"))
        yield
        self.work = WorkLine(self.session.backend, self.session.settings)
        self.work.changed.connect(self._show_actions)
        self.tabs.addTab(self._quality_page(), self.tr("Quality and speed"))
        self.diff = RecipeDiff()
        self.tabs.addTab(self.diff, self.tr("Recipe differences"))
        self.tabs.currentChanged.connect(lambda _: self._show_tab())
        self.table.chosen.connect(self._selection_changed)
        self.setFocusProxy(self.table)
        self._show_actions()
        yield
        self._reading = Reading(self.session.project, self._question, LEAST_MILLISECONDS, self)
        self._reading.found.connect(self._say)
        self._reading.missed.connect(self.says)
        self._reading.look()
        self._clock.start()

    def show_item(self, item: object) -> None:
        """Select a run, or a list of runs."""
        if isinstance(item, int):
            self._wanted = [item]
        elif isinstance(item, list | tuple):
            self._wanted = [run for run in item if isinstance(run, int)]
        self._select_wanted()

    # Parts

    def _loading(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.addWidget(
            look.label(self.tr("Reading the project..."), "body", "muted"), 0, Qt.AlignmentFlag.AlignCenter
        )
        return page

    def _nothing(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setSpacing(look.GAP)
        column.addStretch(1)
        column.addWidget(look.label(self.tr("No runs yet"), "title"), 0, Qt.AlignmentFlag.AlignHCenter)
        words = look.label(
            self.tr("A run trains one student of a teacher. Begin one, and it appears here with its state and scores."),
            "body",
            "muted",
        )
        column.addWidget(words, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(look.GAP)
        self.begin = QPushButton(self.tr("New run..."))
        self.begin.setProperty("primary", True)
        self.begin.clicked.connect(lambda: self.leads_to.emit("wizard", None))
        column.addWidget(self.begin, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(2)
        return page

    def _table_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.GAP)
        self.tags = TagFilter()
        self.tags.changed.connect(lambda _: self._filter())
        self.none_found = look.label(self.tr("No run matches. Use fewer words or tags."), "body", "muted")
        self.none_found.hide()
        self.table = RunsTable(self.model, self.session.settings)
        self.table.opened.connect(lambda run: self.leads_to.emit("run", run))
        self.table.menu_wanted.connect(self._show_menu)
        column.addWidget(self.tags)
        column.addWidget(self.none_found)
        column.addWidget(self.table, 1)
        self.few = look.label(
            self.tr(
                "A second run makes this a comparison: overlay its curves, diff the recipes, plot quality and speed."
            ),
            "body",
            "muted",
            wraps=True,
        )
        self.few.hide()
        column.addWidget(self.few)
        column.addStretch(0)
        return page

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.setSpacing(look.GAP)
        head.addWidget(look.label(self.tr("Runs"), "title"))
        self.count = look.label("", "body", "muted")
        head.addWidget(self.count)
        head.addStretch(1)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Name, method, teacher, tag, state"))
        self.search.setAccessibleName(self.tr("Find runs"))
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(78 * look.SPACE)
        self.search.textChanged.connect(lambda _: self._filter())
        head.addWidget(self.search)
        self.columns = IconButton("sliders-horizontal", self.tr("Columns"))
        self.columns.clicked.connect(
            lambda: self.table.column_menu().popup(self.columns.mapToGlobal(QPoint(0, self.columns.height())))
        )
        head.addWidget(self.columns)
        return head

    def _buttons(self) -> QWidget:
        row, ask = QWidget(), self.commands
        flow = Flow(gap=0)
        row.setLayout(flow)
        for icon, of in (
            ("activity", ask.open),
            ("columns-2", ask.compare),
            ("chart-line", ask.overlay),
            ("diff", self.show_diff),
            ("copy", ask.duplicate),
            ("share", ask.export),
            ("pause", ask.pause),
            ("play", ask.resume),
            ("square", ask.stop),
        ):
            button = IconButton(icon, of.text(), quiet=True)
            button.follow(of)
            flow.addWidget(button)
        more = IconButton("ellipsis", self.tr("More"), quiet=True)
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(more)
        menu.addActions([self.rename, ask.edit_tags, ask.enqueue, ask.up, ask.down, ask.dequeue, self.copy_table])
        more.setMenu(menu)
        flow.addWidget(more)
        return row

    def _quality_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.GAP)
        row = QHBoxLayout()
        self.evaluate_button = QPushButton(self.tr("Evaluate"))
        self.evaluate_button.setProperty("primary", True)
        self.evaluate_button.clicked.connect(self.evaluate.trigger)
        self.evaluate_words = look.label("", "body", "muted", wraps=True)
        row.addWidget(self.evaluate_button)
        row.addWidget(self.evaluate_words, 1)
        column.addLayout(row)
        column.addWidget(self.work)
        column.addStretch(0)
        self._quality_column, self._quality_tab = column, page
        return page

    def _make_quality(self) -> Pareto:
        """The plot, made when it is first wanted: what it is drawn with takes a while to load."""
        if self.quality is None:
            from app.widgets.pareto import Pareto  # noqa: PLC0415

            self.quality = Pareto()
            self.quality.chosen.connect(lambda run: self.table.select([run]))
            self._quality_column.addWidget(self.quality, 1)
        return self.quality

    def _make_actions(self) -> None:
        tr = self.tr
        self.commands = RunsCommands(self.session, lambda: self.table.selected(), self)  # noqa: PLW0108  (made later)
        self.commands.leads_to.connect(self.leads_to)
        self.commands.says.connect(self.says)
        ask = self.commands
        self.rename = action(tr("Rename"), self._begin_rename, "F2")
        self.show_diff = action(tr("Diff recipes"), self._show_diff, "Ctrl+Shift+D")
        self.evaluate = action(tr("Evaluate"), self._evaluate)
        self.copy_table = action(tr("Copy table as CSV"), self._copy_table)
        self.find_runs = action(tr("Find runs"), self._find, "Ctrl+F")
        self._menu_groups = (
            (ask.open, self.rename, ask.edit_tags, ask.duplicate),
            (ask.compare, ask.overlay, self.show_diff, self.evaluate, ask.export),
            (ask.pause, ask.resume, ask.stop),
            (ask.enqueue, ask.up, ask.down, ask.dequeue),
            (self.copy_table,),
        )
        self.addActions([*(one for group in self._menu_groups for one in group), self.find_runs])

    def offered(self) -> list[QAction]:
        return [*self.actions(), *self._sorting()]

    def _sorting(self) -> list[QAction]:
        """Sort by each column that is shown."""
        found = []
        for number in self.table.shown_columns():
            column = self.model.columns[number]
            if column.key not in self._sorts:
                self._sorts[column.key] = action(column.title, partial(self.table.sort_by, column.key))
            words = self.tr("Sort by {0}")
            if column.key == self.table.sorted_by:
                words = self.tr("Sort by {0}, the other way round")
            self._sorts[column.key].setProperty(IN_FULL, words.format(column.title))
            found.append(self._sorts[column.key])
        return found

    def _show_menu(self, at: QPoint) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for group in self._menu_groups:
            menu.addActions(list(group))
            menu.addSeparator()
        menu.addMenu(self.tr("Sort by")).addActions(self._sorting())
        menu.popup(at)

    # Reading

    def _judge(self) -> None:
        """A run that writes nothing may have lost its process."""
        if any(row.state.is_live for row in self.model.rows):
            self._reading.look()

    def _question(self) -> Question | None:
        return _found if self.isVisible() or not self.model.rows else None

    def _say(self, found: Found) -> None:
        self._found = found
        rows = found[0]
        chosen = [row.id for row in self.table.selected()]
        self.model.show(rows)
        if [row.id for row in self.table.selected()] != chosen:
            self.table.select(chosen)
        self.table.fit()
        if self._stack.currentIndex() != (2 if rows else 1):
            turns().add(self._show_found)  # the rows were laid out in this turn; they are drawn in another
        else:
            self._show_found()

    @property
    def is_settled(self) -> bool:
        return self._stack.currentIndex() == (2 if self.model.rows else 1)

    def _show_found(self) -> bool:
        rows, evaluations = self._found
        self.tags.show_tags(tag for row in rows for tag in row.tags)
        if self.quality is not None:
            self.quality.show_evaluations(evaluations, rows)
        self._stack.setCurrentIndex(2 if rows else 1)
        self._filter()
        if not self.table.currentIndex().isValid() and rows and not self._wanted:
            self.table.setCurrentIndex(self.table.proxy.index(0, self.model.place("name")))
        self._select_wanted()
        self._show_actions()
        return False

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._reading.look_if_due()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._clock.stop()
        super().closeEvent(event)

    def _select_wanted(self) -> None:
        if self._wanted and {row.id for row in self.model.rows} >= set(self._wanted):
            self.table.select(self._wanted)
            self._wanted = []

    def _filter(self) -> None:
        self.table.proxy.look_for(self.search.text(), self.tags.chosen())
        shown, there = self.table.proxy.rowCount(), len(self.model.rows)
        words = self.tr("{0} in this project") if shown == there else self.tr("{1} of {0} shown")
        self.count.setText(words.format(there, shown))
        self.none_found.setVisible(shown == 0 and there > 0)
        self.few.setVisible(there == 1)
        self.table.fit_height()

    # What can be done

    def _selection_changed(self) -> None:
        self._show_actions()
        if self.quality is not None:
            self.quality.select([row.id for row in self.table.selected()])
        if self.tabs.currentWidget() is self.diff:
            self._show_tab()

    def _show_actions(self) -> None:
        chosen = self.table.selected()
        one = len(chosen) == 1
        self.commands.show(chosen)
        self.rename.setEnabled(one)
        self.show_diff.setEnabled(len(chosen) > 1)
        self.evaluate.setEnabled(one and not self.work.is_busy and (chosen[0].state.step or 0) > 0)
        self.copy_table.setEnabled(bool(self.model.rows))
        self.evaluate_button.setEnabled(self.evaluate.isEnabled())
        words = self.tr("Measures {0} and its teacher, and keeps the figures.").format(chosen[0].name) if one else ""
        self.evaluate_words.setText(words or self.tr("Select one run to measure it and its teacher."))

    def _find(self) -> None:
        self.search.setFocus()
        self.search.selectAll()

    def _begin_rename(self) -> None:
        self.tabs.setCurrentIndex(0)
        self.table.rename()

    def _show_diff(self) -> None:
        self.tabs.setCurrentWidget(self.diff)
        self._show_tab()

    def _show_tab(self) -> None:
        if self.tabs.currentWidget() is self.diff:
            runs = [row.id for row in self.table.selected()]
            self.session.project.ask(
                lambda project: [project.run(run) for run in runs], self._show_runs, key=f"runs-diff-{id(self)}"
            )
        elif self.tabs.currentWidget() is self._quality_tab:
            rows, evaluations = self._found
            quality = self._make_quality()
            quality.show_evaluations(evaluations, rows)
            quality.select([row.id for row in self.table.selected()])

    def _show_runs(self, runs: list[Run]) -> None:
        self.diff.show_runs(runs)

    def _evaluate(self) -> None:
        chosen = self.table.selected()
        if len(chosen) != 1:
            return
        row = chosen[0]
        self.tabs.setCurrentIndex(1)
        self.work.begin(
            self.tr("Measuring {0} and its teacher").format(row.name),
            ["evaluate", str(self.session.project.path), str(row.id)],
            lambda _: self.says.emit(self.tr("{0} was measured.").format(row.name)),
            "evaluate",
        )

    def _copy_table(self) -> None:
        shown = [self.model.columns[number] for number in self.table.shown_columns()]
        QApplication.clipboard().setText(as_csv(self.table.proxy.shown(), shown))
        self.says.emit(self.tr("The table was copied, as it is shown."))


def _found(project: ProjectFile) -> Found:
    return project.run_rows(), project.every_evaluation()
