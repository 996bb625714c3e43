"""The window of one project: owns it, shows its screens, and is the one place that connects them to each other.

Without a project it shows the welcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QUndoGroup
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMainWindow, QMessageBox, QVBoxLayout, QWidget

from app import asking, look, recent, warm_up
from app.backend_process import Backend
from app.copying import Copying
from app.demo import Demo
from app.live_runs import LiveRuns
from app.menus import Menus
from app.open_project import OpenProject
from app.opening import Opening
from app.screen_stack import ScreenStack
from app.screens import Screen
from app.screens.welcome import WelcomeScreen
from app.session import Session
from app.translations import said
from app.widgets.closing_question import ClosingQuestion
from app.widgets.live_line import LiveLine
from app.widgets.rail import Place, Rail
from app.widgets.work_line import WorkLine
from backend.contract import catalogue, demo, launch
from backend.contract.errors import UserError
from backend.contract.files import window_name
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe
from backend.contract.rows import Run, RunState

DEMO_RECIPE = look.RESOURCES / "recipes" / "digits-demo.json"
LOAD_MILLISECONDS = 100
"""After the start, when the window is painted."""
Then = Callable[["MainWindow"], object]
"""What the window that has opened a project is to do first."""


def _places(tr: Callable[[str], str]) -> list[Place]:
    return [
        Place("wizard", tr("New run"), "plus", "app.wizard.wizard:Wizard", "Ctrl+1"),
        Place("run", tr("Run"), "activity", "app.screens.run:RunScreen", "Ctrl+2"),
        Place("compare", tr("Compare"), "columns-2", "app.screens.compare:CompareScreen", "Ctrl+3"),
        Place("runs", tr("Runs"), "table", "app.screens.runs:RunsScreen", "Ctrl+4"),
        Place("export", tr("Export"), "share", "app.screens.export:ExportScreen", "Ctrl+5"),
    ]


class MainWindow(QMainWindow):
    """A window. project_shown: it has opened a project and shows a screen of it."""

    project_shown = Signal()

    def __init__(self, settings: QSettings, backend: Backend) -> None:
        super().__init__()
        self.settings, self.backend = settings, backend
        self.session: Session | None = None
        self.live: LiveRuns | None = None
        self._demo: Demo | None = None
        self._after_opening: Then | None = None
        self._opening = Opening(self)
        self._opening.opened.connect(self._opened)
        self._opening.refused.connect(self._not_opened)
        self._opening.wanted.connect(self.come_to_front)
        self._opening.said.connect(self.say)
        self._shows_project = self._may_close = False
        self.undo = QUndoGroup(self)
        self.setWindowTitle(self.tr("Distill Studio"))
        self.setMinimumSize(720, 480)
        self.resize(1280, 800)
        self.setAcceptDrops(True)

        self.places = {place.key: place for place in _places(self.tr)}
        self._stack = ScreenStack({place.key: place.place for place in self.places.values()})
        self._stack.made.connect(self._connect_screen)
        self._stack.shown.connect(self._screen_is_shown)
        self.rail = Rail(self.places.values())
        self.rail.wanted.connect(self.show_screen)
        self.rail.hide()
        self.work = WorkLine(backend, settings)
        self.work.setContentsMargins(look.MARGIN, look.GAP, look.MARGIN, look.GAP)
        self._copying = Copying(self.work, self)
        self._copying.said.connect(self.say)
        self._copying.refused.connect(self._refuse)
        self._lay_out()

        self.live_line = LiveLine()
        self.live_line.start_wanted.connect(self._start_queue)
        self._told: tuple[int, RunState, int] | None = None
        self.statusBar().addPermanentWidget(self.live_line)
        self.menus = Menus(self)
        geometry = settings.value("window/geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        self._welcome: WelcomeScreen | None = None
        self.show_welcome()
        modules = [place.place.split(":")[0] for place in self.places.values()]
        QTimer.singleShot(LOAD_MILLISECONDS, self, lambda: warm_up.load(modules, catalogue.default_key))

    def _lay_out(self) -> None:
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.rail)
        middle = QVBoxLayout()
        middle.setSpacing(0)
        middle.addWidget(self._stack, 1)
        middle.addWidget(self.work)
        row.addLayout(middle, 1)
        self.setCentralWidget(whole)

    # Opening

    def open_project(self, path: Path, then: Then | None = None) -> None:
        """Show a project: the window that has it already, in whatever process, else this one or a new one.

        then: what to do in the window that opens it, in place of showing what the project is about.
        """
        path = path.absolute()
        shown = window_of(path)
        if shown is not None:
            shown.come_to_front()
            if shown is self:
                (then or MainWindow._show_what_it_is_about)(self)
            return
        self._opening.ask(path, lambda: self._open(path, then))

    def _open(self, path: Path, then: Then | None) -> None:
        """Open a project that no window shows: here, or in a new window where this one has another."""
        if self.path is not None:
            other = new_window(self.settings)
            other._open(path, then)
            other.show()
            return
        self._after_opening = then
        self._opening.take(path)

    @property
    def path(self) -> Path | None:
        """The project that it shows or is about to show."""
        return self._opening.path

    def new_project(self) -> None:
        """Ask for a name and make an empty project of it."""
        asking.for_new(self, self.tr("New project"), recent.folder(self.settings), self._create)

    def choose_project(self) -> None:
        """Ask for a project file and open it."""
        asking.for_existing(self, self.tr("Open project"), recent.folder(self.settings), self.open_project)

    def start_demo(self) -> None:
        """Make a project, and distil the bundled digits in it."""
        path = recent.free_name(recent.folder(self.settings), "digits-demo")
        self._create(path, MainWindow.start_demo_run)

    def _create(self, path: Path, then: Then | None = None) -> None:
        try:
            ProjectFile.create(path).close()
        except UserError as error:
            self._refuse(said(str(error)))
            return
        self.open_project(path, then)

    def start_demo_run(self) -> None:
        """Distil the bundled digits in the project of this window; the student is measured, exported and checked."""
        recipe = Recipe.from_json(DEMO_RECIPE.read_bytes())
        self.start_run(recipe, self.tr("digits demo"), demo.promise)

    def _demo_is_done(self, run: int) -> None:
        self.say(self.tr("The student is trained, measured, exported and checked."))
        if self.rail.chosen == "run":  # whoever has gone on to something else is not taken from it
            self.show_screen("export", run)

    def start_run(
        self,
        recipe: Recipe,
        name: str | None = None,
        added: Callable[[ProjectFile, int], object] = lambda project, run: None,
    ) -> None:
        """Add a run of a recipe that was checked, start its process and show it. added: writes what it is to bring."""
        session = self._open_session()

        def begin(project: ProjectFile) -> int:
            with project.transaction():
                run = project.add_run(recipe, name=name)
                added(project, run)
            launch.start_worker(project.path, run)
            return run

        def show(run: int) -> None:
            if self._demo is not None:
                self._demo.look()
            self.show_screen("run", run)

        session.project.write(begin, show)

    def _open_session(self) -> Session:
        if self.session is None:
            raise RuntimeError("no project is open")
        return self.session

    @property
    def is_settled(self) -> bool:
        """Whether what is shown is complete: nothing is being opened or asked."""
        if self._opening.is_on_its_way or not self._stack.is_settled:
            return False
        return self.session is None or self.session.project.is_idle

    def _opened(self, project: OpenProject) -> None:
        self.session = Session(project, self.backend, self.settings)
        self._stack.begin(self.session)
        recent.remember(self.settings, project.path)
        self.setWindowTitle(self.tr("{0} - Distill Studio").format(project.path.stem))
        self.setWindowFilePath(str(project.path))
        self.rail.show()
        self.live = LiveRuns(project, self)
        self.live.changed.connect(lambda _: self._show_live())
        self.live.ended.connect(self._notify)
        self._demo = Demo(project, self.work, self)
        self._demo.done.connect(self._demo_is_done)
        self._demo.look()
        self.menus.offer_project()
        then, self._after_opening = self._after_opening, None
        if then is not None:
            then(self)
        else:
            self._show_what_it_is_about()

    def _show_what_it_is_about(self) -> None:
        if self.session is not None:
            self.session.project.ask(_first_screen, self._show_first, failed=self._refuse)

    def _show_first(self, first: tuple[str, int | None]) -> None:
        if self.rail.chosen is None:  # a person may have been quicker
            self.show_screen(*first)

    def _not_opened(self, words: str) -> None:
        self._after_opening = None
        self._refuse(words)

    def _refuse(self, words: str) -> None:
        box = QMessageBox(QMessageBox.Icon.Warning, self.tr("Distill Studio"), words, parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    # Screens

    def show_screen(self, key: str, item: object = None) -> None:
        """Show a screen, and in it what another one leads to."""
        if self.session is not None:
            self.rail.choose(key)
            self._stack.show_screen(key, item)

    def _connect_screen(self, key: str, screen: Screen) -> None:
        screen.setAccessibleName(self.places[key].words)
        screen.leads_to.connect(self.show_screen)
        screen.says.connect(self.say)
        screen.tells_of_run.connect(self._hear_of_run)
        if screen.undo_stack is not None:
            self.undo.addStack(screen.undo_stack)

    def _screen_is_shown(self, screen: Screen) -> None:
        if screen.undo_stack is not None:
            self.undo.setActiveStack(screen.undo_stack)
        if not self._shows_project:
            self._shows_project = True
            self.project_shown.emit()

    def screen_shown(self) -> QWidget | None:
        """What is in the middle of the window now."""
        return self._stack.currentWidget()

    def say(self, words: str) -> None:
        """A sentence in the status bar."""
        self.statusBar().showMessage(words, 15_000)

    def show_welcome(self) -> None:
        """What a window without a project shows; one that has a project keeps it, and opens others beside itself."""
        before, self._welcome = self._welcome, WelcomeScreen(self.settings)
        self._welcome.demo_wanted.connect(self.start_demo)
        self._welcome.new_wanted.connect(self.new_project)
        self._welcome.open_wanted.connect(self.choose_project)
        self._welcome.project_chosen.connect(self.open_project)
        self.rail.choose(None)
        self._stack.show_page(self._welcome)
        self._welcome.setFocus()
        if before is not None:  # what was opened last has changed since
            self._stack.removeWidget(before)
            before.deleteLater()

    # What the menus offer

    def save_copy(self) -> None:
        """Ask where to, and have a whole copy of the project written there: the database, weights and pictures."""
        path = self._open_session().project.path
        asking.for_copy(self, self.tr("Save a copy"), path.parent, self.copy_to)

    def copy_to(self, target: Path) -> None:
        """Write a whole copy of the project there, in a process of its own."""
        self._copying.begin(self._open_session().project, target)

    def copy_diagnostics(self) -> None:
        """What a report of a fault needs, to the clipboard."""
        from app.fault_report import diagnostics  # noqa: PLC0415

        QApplication.clipboard().setText(diagnostics(self.session))
        self.say(self.tr("Copied. Nothing in it names your pictures or prompts."))

    def show_about(self) -> None:
        """What this program is, and its version."""
        from app.fault_report import version  # noqa: PLC0415

        box = QMessageBox(self)
        box.setIconPixmap(look.app_icon().pixmap(64, 64))
        box.setText(self.tr("Distill Studio {0}").format(version()))
        box.setInformativeText(
            self.tr("Diffusion distillation experiments: a teacher, a method, a few-step student that diffusers loads.")
        )
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    # Runs in progress

    def _show_live(self) -> None:
        """What a screen says of a run counts, so that both say the same."""
        if self.live is None:
            return
        live, steps = self.live.runs, self.live.steps
        if self._told is not None:
            told, state, of = self._told
            live = [(run, state if run.id == told else known) for run, known in live]
            steps = {**steps, told: of}
        live = [(run, state) for run, state in live if state.is_live]
        self.live_line.show_runs(live, steps, self.live.waiting)

    def _hear_of_run(self, run: int, state: RunState, steps: int) -> None:
        self._told = (run, state, steps)
        self._show_live()

    def _start_queue(self) -> None:
        path = self._open_session().project.path
        self._open_session().project.write(lambda _: launch.start_next(path))

    def _notify(self, run: Run, state: RunState) -> None:
        from app.notify import notify  # noqa: PLC0415

        words = {
            "finished": self.tr("{0} is finished."),
            "stopped": self.tr("{0} has stopped."),
            "failed": self.tr("{0} has failed: {1}"),
            "lost": self.tr("{0} is lost: {1}"),
        }.get(state.state, "{0}: {1}")
        if state.state == "lost":  # a worker that ends by itself starts the next of the queue; this one could not
            path = self._open_session().project.path
            self._open_session().project.write(lambda _: launch.start_next(path))
        sentence = words.format(run.name, said(state.reason))
        self.say(sentence)
        if not self.isActiveWindow():
            notify(self, self.tr("Distill Studio"), sentence)

    # The window itself

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        QTimer.singleShot(0, self, lambda: self.take(paths))  # the drag must end before anything is asked

    def take(self, paths: Sequence[Path]) -> None:
        """A project that was dropped is opened; a model or pictures begin a new run of it, in a new project if need be.

        Of several the first that can be used is taken, and said.
        """
        from app.wizard.dropped import contents  # noqa: PLC0415

        path = next((one for one in paths if one.suffix == asking.SUFFIX or contents(one)), paths[0])
        if len(paths) > 1:
            self.say(self.tr("Took {0}, one of {1} that were dropped.").format(path.name, len(paths)))
        if path.suffix == asking.SUFFIX:
            self.open_project(path)
        elif self.path is None:
            folder, title = recent.folder(self.settings), self.tr("New project for {0}").format(path.name)

            def begin(project: Path) -> None:
                self._create(project, lambda window: window.show_screen("wizard", path))

            asking.for_new(self, title, folder, begin, recent.free_name(folder, path.stem).name)
        else:
            self.show_screen("wizard", path)

    def closeEvent(self, event: QCloseEvent) -> None:
        runs = self.live.runs if self.live is not None else []
        if runs and not self._may_close and not self.settings.value("window/closes_quietly", False, bool):
            event.ignore()
            self._ask_to_close([run for run, _ in runs])
            return
        self.settings.setValue("window/geometry", self.saveGeometry())
        self.settings.sync()
        self._stack.stop()
        if self.live is not None:
            self.live.close()
        was_at_work = self.work.is_busy
        self.backend.close()
        self.work.clear()  # its clock would tick on for as long as anything holds the window
        if was_at_work:
            self._copying.abandon()
        if self.session is not None:
            self.session.project.close()
        self._opening.let_go()
        super().closeEvent(event)

    def _ask_to_close(self, runs: Sequence[Run]) -> None:
        def decided(stops: bool, quietly: bool) -> None:
            self.settings.setValue("window/closes_quietly", quietly)
            if stops:
                project = self._open_session().project
                for run in runs:  # each by itself: one that has ended meanwhile refuses, and keeps no other from it
                    project.write(partial(_stop, run.id))
            self._may_close = True
            self.close()

        question = ClosingQuestion(runs, self)
        question.decided.connect(decided)
        question.open()

    def come_to_front(self) -> None:
        """Be seen, also where it was made small or lies behind others."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.raise_()
        self.activateWindow()


_windows: list[MainWindow] = []


def new_window(settings: QSettings) -> MainWindow:
    """A window of its own, kept until it is closed."""
    window = MainWindow(settings, Backend(QApplication.instance()))
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    window.destroyed.connect(lambda: _windows.remove(window))
    _windows.append(window)
    return window


def window_of(path: Path) -> MainWindow | None:
    """The window of this process that shows a project or is about to; None where none does."""
    name = window_name(path)
    windows = (window for window in QApplication.topLevelWidgets() if isinstance(window, MainWindow))
    return next((w for w in windows if w.path is not None and window_name(w.path) == name), None)


def _stop(run: int, project: ProjectFile) -> None:
    launch.stop(project.path, run)


def _first_screen(project: ProjectFile) -> tuple[str, int | None]:
    """What to show of a project that was just opened: what runs, else all runs, else a new one."""
    live = project.live_runs()
    if live:
        return "run", live[-1][0].id
    return ("runs" if project.has_runs() else "wizard"), None
