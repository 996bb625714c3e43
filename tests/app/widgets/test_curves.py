"""Curves of real runs: choosing, zooming to raw rows, reading values, overlays, live rows, the table, the keyboard."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import look
from app.bench.curves import make_project, measure
from app.models.band import Reference
from app.models.curve_view import Span
from app.session import Session
from app.widgets.curve_lines import FILL, paler
from app.widgets.curves import Curves, Mark
from backend.contract.metrics import MetricRow
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe

from ..conftest import RECIPE, fill


@pytest.fixture
def curves(qtbot: QtBot, session: Session) -> Curves:
    return shown(qtbot, session, [1])


def shown(qtbot: QtBot, session: Session, runs: list[int]) -> Curves:
    made = Curves(session.project, session.settings)
    qtbot.addWidget(made)
    made.resize(1100, 700)
    made.show()
    made.show_runs(runs)
    settled(qtbot, made)
    return made


def settled(qtbot: QtBot, curves: Curves) -> None:
    qtbot.waitUntil(lambda: curves.is_settled)


def groups(curves: Curves) -> set[str]:
    return {group for group, pane in curves.panes.items() if pane.isVisible()}


def turn(curves: Curves, group: str, angle: int, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    plot = next(pane.plot for name, pane in curves.panes.items() if name == group)
    at = QPointF(plot.width() / 2, plot.height() / 2)
    glob = QPointF(plot.mapToGlobal(at.toPoint()))
    phase, none = Qt.ScrollPhase.NoScrollPhase, Qt.MouseButton.NoButton
    QApplication.sendEvent(plot, QWheelEvent(at, glob, QPoint(), QPoint(0, angle), none, keys, phase, False))


def test_losses_and_the_score_are_shown_and_a_series_can_be_added(qtbot: QtBot, curves: Curves) -> None:
    assert groups(curves) == {"losses", "scores"}
    assert {line.label for line in curves.panes["losses"].plot.lines} == {"matching", "fake_score"}
    view = curves.list.view
    index = curves.list.index_of("student_gradient_norm")
    view.setCurrentIndex(index)
    qtbot.keyClick(view, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: groups(curves) == {"losses", "scores", "gradients"})
    qtbot.keyClick(view, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: groups(curves) == {"losses", "scores"})


def test_a_name_leaves_out_what_the_title_above_it_says_and_its_tool_tip_has_all(curves: Curves) -> None:
    index = curves.list.index_of("student_gradient_norm")
    assert index.data() == "student"
    assert index.siblingAtRow(index.row() - 1).data() == "Gradient norms"
    for role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
        assert index.data(role) == "student gradient norm"


def test_without_any_series_it_says_what_to_do(qtbot: QtBot, curves: Curves) -> None:
    for name in ("matching", "fake_score", "preview_frechet"):
        curves.list.view.setCurrentIndex(curves.list.index_of(name))
        qtbot.keyClick(curves.list.view, Qt.Key.Key_Space)
    settled(qtbot, curves)
    assert curves.empty.isVisible()
    assert "Choose a series" in curves.empty.text()


def test_a_run_without_figures_says_so_and_shows_the_first(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    path = tmp_path / "new.distill"
    with ProjectFile.create(path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        curves = shown(qtbot, open_session(path), [run])
        assert curves.empty.isVisible()
        assert "No figures yet" in curves.empty.text()
        project.record(attempt, [MetricRow(1, {"matching": 0.5})])
        curves.refresh()
        qtbot.waitUntil(lambda: groups(curves) == {"losses"})
        assert not curves.empty.isVisible()


def test_a_score_that_comes_later_is_shown_and_a_choice_is_kept(qtbot: QtBot, session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(1, {"matching": 0.5, "consistency": 1.0})])
        curves = shown(qtbot, session, [run])
        curves.list.view.setCurrentIndex(curves.list.index_of("matching"))
        qtbot.keyClick(curves.list.view, Qt.Key.Key_Space)
        project.record(attempt, [MetricRow(2, {"preview_frechet": 9.0, "memory_mib": 100.0})])
        curves.refresh()
        qtbot.waitUntil(lambda: groups(curves) == {"losses", "scores"})
        settled(qtbot, curves)
        assert curves.list.chosen() == {"consistency", "preview_frechet"}
    curves.show_runs([1])
    settled(qtbot, curves)
    assert curves.list.chosen() == {"fake_score", "preview_frechet"}


def test_tab_leads_through_every_plot_to_the_list(qtbot: QtBot, curves: Curves) -> None:
    losses, scores = curves.panes["losses"], curves.panes["scores"]
    expected = [losses.smoothing, losses.log, losses.clip, losses.plot, scores.smoothing, scores.log, scores.clip]
    expected += [scores.plot, curves.list.view]
    curves.activateWindow()
    curves.table_button.setFocus()
    for widget in expected:
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        assert QApplication.focusWidget() is widget


def test_zoom_reaches_the_rows_themselves(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    path = tmp_path / "long.distill"
    make_project(path, points=30_000, series=1)
    curves = shown(qtbot, open_session(path), [1])
    pane = curves.panes["losses"]
    assert "1 column =" in pane.badge.text()
    while curves.span is None or curves.span.width > 300:
        turn(curves, "losses", 240)
    settled(qtbot, curves)
    assert pane.badge.text() == "raw"
    columns = pane.plot.lines[0].columns
    assert (columns.first == columns.last).all()
    with ProjectFile.open(path, readonly=True) as project:
        series = project.find_series(1, "loss_0")
        assert series is not None
        span = curves.span
        points = project.points(series, int(np.ceil(span.low)), int(np.floor(span.high)))
    seen = columns.seen(span)
    assert columns.high[seen].tolist() == points.values.tolist()


def test_keys_zoom_pan_reset_and_change_the_scale(qtbot: QtBot, curves: Curves) -> None:
    plot = curves.panes["losses"].plot
    plot.setFocus()
    qtbot.keyClick(plot, Qt.Key.Key_Plus)
    assert curves.span == Span(100.75, 300.25)
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert curves.span.low < 100
    qtbot.keyClick(plot, Qt.Key.Key_Home)
    assert curves.span.low == 1
    qtbot.keyClick(plot, Qt.Key.Key_End)
    assert curves.span.high == 400
    qtbot.keyClick(plot, Qt.Key.Key_Minus)
    assert curves.span == Span(1, 400)
    turn(curves, "losses", 120)
    assert curves.span != Span(1, 400)
    qtbot.keyClick(plot, Qt.Key.Key_0)
    assert curves.span == Span(1, 400)
    before = plot.height_shown
    qtbot.keyClick(plot, Qt.Key.Key_L)
    assert curves.panes["losses"].log.isChecked()
    assert plot.height_shown != before
    settled(qtbot, curves)


def test_dragging_pans_both_plots_and_shift_chooses_a_range(qtbot: QtBot, curves: Curves) -> None:
    curves.show_span(Span(100, 200))
    plot, other = curves.panes["losses"].plot, curves.panes["scores"].plot
    start = QPoint(plot.width() // 2, 60)
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(plot, start + QPoint(-50, 0))
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, pos=start + QPoint(-50, 0))
    assert curves.span is not None
    assert curves.span.low > 103
    assert curves.span.width == pytest.approx(100)
    assert other.span == plot.span == curves.span
    left, right = (QPoint(round(plot.pixel_of(x)), 60) for x in (120.0, 160.0))
    qtbot.mousePress(plot, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, left)
    qtbot.mouseMove(plot, right)
    qtbot.mouseRelease(plot, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, right)
    assert curves.span.low == pytest.approx(120, abs=1)
    assert curves.span.high == pytest.approx(160, abs=1)
    settled(qtbot, curves)


def test_the_crosshair_reads_every_series_and_tells_the_step(qtbot: QtBot, curves: Curves, session: Session) -> None:
    told: list[int] = []
    curves.step_pointed.connect(told.append)
    plot = curves.panes["losses"].plot
    qtbot.mouseMove(plot, QPoint(round(plot.pixel_of(200)), 80))
    assert told[-1] == pytest.approx(200, abs=1)
    assert curves.panes["scores"].plot.cross == plot.cross
    value = curves.list.index_of("matching").siblingAtColumn(1).data()
    with ProjectFile.open(session.project.path, readonly=True) as project:
        series = project.find_series(1, "matching")
        assert series is not None
        (true,) = project.points(series, told[-1], told[-1]).values.tolist()
    assert float(value) == pytest.approx(true, rel=0.01)
    plot.setFocus()
    qtbot.keyClick(plot, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert plot.cross == pytest.approx(told[-1])
    qtbot.keyClick(plot, Qt.Key.Key_Escape)
    assert plot.cross is None
    assert told[-1] is None


def pens(curves: Curves, group: str) -> list[tuple[str, int, str, tuple[int, ...]]]:
    """(series, place of its run, colour, dash) of every line of a plot."""
    plot = next(pane.plot for name, pane in curves.panes.items() if name == group)
    return [(line.label, line.order, line.colour().name(), line.dash(1.0)) for line in plot.lines]


def swatches(curves: Curves) -> list[bytes]:
    """The pictures of lines in the list, from the top."""
    items = [curves.list._rows[entry.name, entry.order][0] for entry in curves.list._entries]
    images = [item.icon().pixmap(curves.list.view.iconSize()).toImage() for item in items]
    return [bytes(image.constBits()) for image in images]


def test_seven_runs_over_each_other_are_told_apart_in_plot_and_list(qtbot: QtBot, session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        for number in range(3, 8):
            fill(project, project.add_run(Recipe.from_values(RECIPE), name=f"run {number}"), previews=2)
    for scheme in (look.LIGHT, look.DARK):
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        look.use(application, scheme)
        curves = shown(qtbot, session, list(range(1, 8)))
        for group, series in (("losses", {"matching", "fake_score"}), ("scores", {"preview_frechet"})):
            found = pens(curves, group)
            assert {label for label, *_ in found} == series
            assert len({(colour, dash) for *_, colour, dash in found}) == len(found) == 7 * len(series)
            for label in series:  # noisy lines are told apart by colour, and not by dashes
                assert len({colour for one, _, colour, _ in found if one == label}) == 7
            for order in range(7):  # a run has one colour in all plots
                colours = {colour for _, one, colour, _ in found if one == order}
                assert colours == {colour for _, one, colour, _ in pens(curves, "losses") if one == order}
        in_losses = [entry for entry in curves.list._entries if entry.name in ("matching", "fake_score")]
        assert len(set(swatches(curves)[: len(in_losses)])) == 14
        assert curves.status.text() == "7 runs, each in a colour of its own"


def test_no_two_series_of_a_plot_share_a_colour_and_each_keeps_its_own(
    qtbot: QtBot, open_session: Callable[[Path], Session], tmp_path: Path
) -> None:
    path = tmp_path / "many.distill"
    # Eight colours lie between the first loss and the last.
    others = [f"{net}_gradient_norm" for net in "abcdefg"]
    with ProjectFile.create(path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(1, dict.fromkeys(["matching", *others], 0.5))])
        session = open_session(path)
        curves = shown(qtbot, session, [run])
        project.record(attempt, [MetricRow(2, dict.fromkeys(["matching", *others, "gan"], 0.6))])
        curves.refresh()
        qtbot.waitUntil(lambda: len(pens(curves, "losses")) == 2)
        more = [f"loss_{number}" for number in range(10)]
        project.record(attempt, [MetricRow(3, dict.fromkeys([*more, "matching", "gan", *others], 0.7))])
    curves.refresh()
    qtbot.waitUntil(lambda: len(pens(curves, "losses")) == 12)
    settled(qtbot, curves)
    before = pens(curves, "losses")
    assert len({colour for *_, colour, _ in before}) == 12
    assert not any(dash for *_, dash in before)
    again = shown(qtbot, open_session(path), [run])
    assert sorted(pens(again, "losses")) == sorted(before)
    assert swatches(again) == swatches(curves)


def test_superseded_steps_stay_faint_and_what_is_not_finite_is_marked(qtbot: QtBot, session: Session) -> None:
    with ProjectFile.open(session.project.path) as project:
        attempt = project.begin_attempt(1)
        project.set_first_step(attempt, 300)
        project.record(attempt, [MetricRow(300 + i, {"matching": float("nan") if i == 9 else 1.0}) for i in range(50)])
    curves = shown(qtbot, session, [1])
    plot = curves.panes["losses"].plot
    (old,) = [line for line in plot.lines if line.is_superseded and line.label == "matching"]
    assert (old.columns.first.min(), old.columns.last.max()) == (300, 400)
    (line,) = [line for line in plot.lines if not line.is_superseded and line.label == "matching"]
    assert line.scaled.odd.tolist() == [309]
    assert line.columns.last.max() == 349
    assert "not finite at 1" in curves.panes["losses"].badge.text()


@pytest.mark.parametrize(("axis", "end"), [("images", 6400), ("wall", 80), ("nfe", 51200)])
def test_over_images_time_and_evaluations(qtbot: QtBot, curves: Curves, axis: str, end: float) -> None:
    curves.axis_box.setCurrentIndex(curves.axis_box.findData(axis))
    settled(qtbot, curves)
    qtbot.waitUntil(lambda: curves.span is not None and curves.span.high == pytest.approx(end))
    assert curves.span is not None
    curves.show_span(Span(end / 2, end * 0.75))
    settled(qtbot, curves)
    columns = curves.panes["losses"].plot.lines[0].columns
    assert columns.seen(curves.span).sum() == pytest.approx(100, abs=2)


def test_new_rows_move_a_view_that_is_at_the_end_and_leave_another(
    qtbot: QtBot, open_session: Callable[[Path], Session], project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(step, {"matching": 1.0}) for step in range(101)])
        curves = shown(qtbot, open_session(project_path), [run])
        curves.show_span(Span(60, 100))
        settled(qtbot, curves)
        project.record(attempt, [MetricRow(step, {"matching": 1.0}) for step in range(101, 121)])
        curves.refresh()
        qtbot.waitUntil(lambda: curves.span == Span(80, 120))
        assert "following" in curves.status.text()
        curves.show_span(Span(20, 60))
        project.record(attempt, [MetricRow(step, {"matching": 1.0}) for step in range(121, 141)])
        curves.refresh()
        settled(qtbot, curves)
        assert curves.span == Span(20, 60)
        assert curves.list.index_of("matching").siblingAtColumn(1).data() == "1"
        curves.reset()
        settled(qtbot, curves)
        assert curves.span == Span(0, 140)


def test_scale_and_smoothing_are_remembered_for_each_group(qtbot: QtBot, session: Session, curves: Curves) -> None:
    pane = curves.panes["losses"]
    pane.smoothing.setFocus()
    qtbot.keyClick(pane.smoothing, Qt.Key.Key_PageUp)
    qtbot.mouseClick(pane.clip, Qt.MouseButton.LeftButton, pos=QPoint(10, pane.clip.height() // 2))
    smooth = pane.plot.lines[0].smooth
    assert smooth is not None
    assert np.nanstd(smooth) < np.nanstd(pane.plot.lines[0].columns.low)
    again = shown(qtbot, session, [2])
    assert again.panes["losses"].amount == 0.1
    assert again.panes["losses"].clip.isChecked()
    assert again.panes["scores"].amount == 0


def test_marks_are_found_under_the_pointer(qtbot: QtBot, curves: Curves) -> None:
    best = Mark(200, "Best so far: step 200", "best")
    curves.set_marks([best, Mark(300, "Attempt 2 began", "attempt")])
    plot = curves.panes["losses"].plot
    assert plot.mark_at(QPoint(round(plot.pixel_of(200)) + 2, 50)) == best
    assert plot.mark_at(QPoint(round(plot.pixel_of(250)), 50)) is None
    image = plot.grab().toImage()
    ratio = plot.devicePixelRatioF()
    assert image.pixelColor(round(plot.pixel_of(200) * ratio), round(9 * ratio)) == look.colour("accent")


def test_the_table_has_the_steps_in_sight_and_copies_them(qtbot: QtBot, curves: Curves) -> None:
    curves.show_span(Span(380, 390))
    settled(qtbot, curves)
    qtbot.mouseClick(curves.table_button, Qt.MouseButton.LeftButton)
    model = curves.table.model
    qtbot.waitUntil(lambda: model.rowCount() == 11)
    assert [model.headerData(i, Qt.Orientation.Horizontal) for i in range(4)] == [
        "Step", "matching", "fake score", "preview frechet",
    ]  # fmt: skip
    assert model.index(0, 0).data() == "380"
    qtbot.mouseClick(curves.table.copy_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "11 rows copied" in curves.table.words.text())
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0] == "step,matching,fake_score,preview_frechet"
    assert len(lines) == 12
    assert float(lines[1].split(",")[1]) == pytest.approx(float(model.index(0, 1).data()), rel=1e-5)


def test_the_table_reads_on_as_it_is_scrolled(qtbot: QtBot, curves: Curves) -> None:
    curves.show_table(True)
    model = curves.table.model
    qtbot.waitUntil(lambda: model.rowCount() > 0)
    assert model.rowCount() < 400
    curves.table.view.setFocus()
    qtbot.keyClick(curves.table.view, Qt.Key.Key_End, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: model.rowCount() == 400)
    assert not model.canFetchMore()


def test_rows_are_added_to_a_table_without_losing_its_place(
    qtbot: QtBot, open_session: Callable[[Path], Session], project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(step, {"matching": 1.0}) for step in range(50)])
        curves = shown(qtbot, open_session(project_path), [run])
        curves.show_table(True)
        model = curves.table.model
        qtbot.waitUntil(lambda: model.rowCount() == 50)
        resets: list[bool] = []
        model.modelReset.connect(lambda: resets.append(True))
        curves.table.view.selectRow(20)
        project.record(attempt, [MetricRow(step, {"matching": 2.0}) for step in range(50, 60)])
        curves.refresh()
        qtbot.waitUntil(lambda: model.rowCount() == 60)
        assert not resets
        assert [index.row() for index in curves.table.view.selectionModel().selectedRows()] == [20]
        assert model.index(59, 1).data() == "2"


def test_a_plot_is_told_in_words(curves: Curves) -> None:
    words = curves.panes["losses"].plot.accessibleDescription()
    assert words.startswith("matching of first: ")
    assert "at step 400, lowest" in words
    assert "falling." in words


def show_band(qtbot: QtBot, curves: Curves, run: int = 2) -> None:
    curves.show_reference(Reference("dmd2", run))
    qtbot.waitUntil(lambda: all(pane.plot.bands for pane in curves.plots.shown()))
    settled(qtbot, curves)


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("axis", ["step", "images"])
def test_a_band_is_shaded_behind_the_lines_and_nowhere_else(
    qtbot: QtBot, qapp: QApplication, curves: Curves, scheme: look.Scheme, log: bool, axis: str
) -> None:
    look.use(qapp, scheme)
    curves.axis_box.setCurrentIndex(curves.axis_box.findData(axis))
    settled(qtbot, curves)
    for name in ("fake_score", "preview_frechet"):  # one curve alone
        curves.list.view.setCurrentIndex(curves.list.index_of(name))
        qtbot.keyClick(curves.list.view, Qt.Key.Key_Space)
    pane = curves.panes["losses"]
    pane.log.setChecked(log)
    show_band(qtbot, curves)
    plot = pane.plot
    (band,) = plot.bands
    assert band.label == "matching"
    image, ratio = plot.grab().toImage(), plot.devicePixelRatioF()
    fill, surface = paler(look.series_colour(0), FILL).rgb(), look.colour("surface").rgb()
    inside = outside = 0
    places = [plot.pixel_of(float(x)) for x in band.shade.x]
    for place, x in enumerate(places[1:-1], 1):
        if min(x - places[place - 1], places[place + 1] - x) < 3:  # the axis stands still
            continue
        top, foot = (plot._pixel_of_y(float(side[place])) for side in (band.shade.high, band.shade.low))
        rows = np.arange(plot._area().top() + 1, plot._area().bottom())
        for y in rows:
            is_filled = image.pixel(round(x * ratio), round(y * ratio)) == fill
            if top + 2 < y < foot - 2:
                inside += is_filled
            elif y < top - 2 or y > foot + 2:
                assert not is_filled
                outside += image.pixel(round(x * ratio), round(y * ratio)) == surface
    assert inside > 500
    assert outside > 500
    left = image.pixel(round((plot._area().left() - 3) * ratio), round(plot.height() * ratio / 2))
    assert left == surface


def test_a_band_says_whose_it_is_and_where_the_newest_value_lies(qtbot: QtBot, curves: Curves) -> None:
    show_band(qtbot, curves)
    pane = curves.panes["losses"]
    assert pane.badge.text() == "raw · band: 90 % of run 2 'second'"
    told = pane.plot.accessibleDescription()
    assert told.endswith("Shaded is the band: 90 % of run 2 'second'.")
    assert told.count("Within the band.") + told.count("Above the band.") + told.count("Below the band.") == 2
    curves.show_reference(None)
    settled(qtbot, curves)
    assert pane.badge.text() == "raw"
    assert not pane.plot.bands
    assert "band" not in pane.plot.accessibleDescription()


def test_a_band_stays_with_other_runs_over_it_and_a_series_that_is_added_gets_its_own(
    qtbot: QtBot, curves: Curves
) -> None:
    show_band(qtbot, curves)
    curves.list.view.setCurrentIndex(curves.list.index_of("student_gradient_norm"))
    qtbot.keyClick(curves.list.view, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "gradients" in groups(curves) and bool(curves.panes["gradients"].plot.bands))
    assert len(curves.panes["losses"].plot.bands) == 2
    curves.show_runs([1, 2])
    settled(qtbot, curves)
    assert {band.pen.slot for band in curves.panes["losses"].plot.bands} == {0}


def test_a_band_far_away_leaves_the_lines_half_of_the_height(
    qtbot: QtBot, open_session: Callable[[Path], Session], project_path: Path
) -> None:
    with ProjectFile.open(project_path) as project:
        run = project.add_run(Recipe.from_values(RECIPE))
        attempt = project.begin_attempt(run)
        project.record(attempt, [MetricRow(step, {"matching": 1000.0}) for step in range(1, 401)])
    curves = shown(qtbot, open_session(project_path), [1])
    plot = curves.panes["losses"].plot
    before = plot.height_shown
    assert before is not None
    curves.show_reference(Reference("dmd2", run))
    qtbot.waitUntil(lambda: bool(plot.bands))
    after = plot.height_shown
    assert after is not None
    assert after.low == before.low
    assert after.width == pytest.approx(2 * before.width)
    plot.zoom_height(0.5)
    assert plot.height_shown is not None
    assert plot.height_shown.width == pytest.approx(before.width)


def test_frames_can_be_measured(qtbot: QtBot, tmp_path: Path) -> None:
    make_project(tmp_path / "bench.distill", points=2000, series=2)
    figures = measure(tmp_path / "bench.distill", moves=30)
    assert figures["moves"] == 30
    assert figures["series"] == 2
    assert 0 < figures["frame_ms_median"] <= figures["frame_ms_p95"] <= figures["frame_ms_max"]
