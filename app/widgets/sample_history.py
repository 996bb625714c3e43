"""The previews of a run through its steps: a grid, a slider over the rounds, the teacher's pictures beside or instead.

It shows what it is told of; pictures come from the store, which loads what is looked at and its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from app import look
from app.models import run_words
from app.models.sample_rounds import REFERENCES, Round, Rounds, best_of, nearest, one_of_each, spread
from app.picture_store import PictureStore
from app.translations import curve_words, said
from app.widgets.history_slider import HistorySlider
from app.widgets.icon_button import IconButton
from app.widgets.picture import PictureView, sample_words
from app.widgets.sample_grid import SampleGrid, Tile
from backend.contract.rows import Checkpoint, RunState, Sample

PLAY_MILLISECONDS = 120
NEIGHBOURS = (1, -1, 2, -2, 3)
"""Rounds that are loaded besides the one that is shown, the likeliest next first."""
STUDENT = "student"
STEPS = "steps"
"""The student's pictures of each prompt or class in a line of their own, step beside step."""
MOST_STEPS, MOST_LINES = 6, 12


class SampleHistory(QWidget):
    """`show_rounds` whenever there is more; what is shown stays, unless it was the newest."""

    def __init__(self, store: PictureStore, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._samples = store, Rounds()
        self._rounds: list[Round] = []
        self._best: int | None = None
        self._is_over = False
        self._checkpoints: Sequence[Checkpoint] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, look.GAP, 0, 0)
        column.setSpacing(look.GAP)
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        self.play = IconButton("play", self.tr("Play through the steps"), alone=True, quiet=True)
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        self.slider = HistorySlider(self.tr("Step of the previews"))
        self.slider.valueChanged.connect(self._show)
        row.addWidget(self.play)
        row.addWidget(self.slider, 1)
        column.addLayout(row)
        self.words = look.label("", "body", "text", wraps=True)
        self.words.setFont(look.figures("body"))
        self.words.setAccessibleName(self.tr("Previews shown"))
        column.addWidget(self.words)
        column.addLayout(self._choices())
        self.grid = SampleGrid()
        self.grid.opened.connect(self._open)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        holder = QWidget()
        inside = QVBoxLayout(holder)
        inside.setContentsMargins(0, 0, look.GAP, 0)
        inside.addWidget(self.grid)
        inside.addStretch(1)
        area.setWidget(holder)
        column.addWidget(area, 1)
        self._empty = look.label("", "body", "muted", wraps=True)
        column.addWidget(self._empty)
        column.addStretch(0)
        self._shows = (row, area)
        self._area = area
        self._clock = QTimer(self)
        self._clock.setInterval(PLAY_MILLISECONDS)
        self._clock.timeout.connect(self._next)
        store.arrived.connect(self._paint)
        self._refresh()

    def _choices(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(look.GAP)
        self.shown = QComboBox()
        self.shown.setAccessibleName(self.tr("Whose pictures"))
        self.shown.setMinimumContentsLength(12)
        self.shown.currentIndexChanged.connect(self._show)
        row.addWidget(self.shown, 1)
        self.superseded = QCheckBox(self.tr("Superseded attempts"))
        self.superseded.setToolTip(self.tr("Also the previews of steps that a later attempt has taken again"))
        self.superseded.toggled.connect(self._refresh)
        row.addWidget(self.superseded)
        return row

    # What is shown

    def show_rounds(self, samples: Rounds, checkpoints: Sequence[Checkpoint]) -> None:
        """The run's samples and checkpoints as they are now."""
        if samples is not self._samples:
            self.play.setChecked(False)
            self._rounds = []
        self._samples, self._checkpoints = samples, checkpoints
        self._refresh()

    def show_state(self, state: RunState) -> None:
        """Whether more is to come."""
        self._is_over = not (state.is_live or state.state == "queued")
        self._show()

    @property
    def shown_round(self) -> Round | None:
        """What the slider is at."""
        return self._rounds[self.slider.value()] if self._rounds else None

    def _refresh(self) -> None:
        at = self.shown_round
        follows = at is None or (self.slider.is_at_end and not self.play.isChecked())
        self._rounds = self._samples.rounds(superseded=self.superseded.isChecked())
        self._best = best_of(self._rounds, self._checkpoints)
        all_of_them = self._samples.rounds(superseded=True)
        self.superseded.setVisible(any(one.superseded for one in all_of_them))
        self._fill_choices()
        self.slider.blockSignals(True)
        self.slider.show_range(len(self._rounds), self._best)
        if follows:
            self.slider.setValue(self.slider.maximum())
        elif at is not None:
            self.slider.setValue(self._index_of(at))
        self.slider.blockSignals(False)
        self.play.setEnabled(len(self._rounds) > 1)
        self._show()

    def _index_of(self, one: Round) -> int:
        for index, other in enumerate(self._rounds):
            if (other.step, other.attempt) == (one.step, one.attempt):
                return index
        return nearest([other.step for other in self._rounds], one.step)

    def _fill_choices(self) -> None:
        names = {
            "teacher": self.tr("teacher"),
            "teacher_at_student_nfe": self.tr("teacher, as few steps"),
        }
        there = [kind for kind in REFERENCES if self._samples.has(kind)]
        entries: list[tuple[str, tuple[str, ...]]] = (
            [(self.tr("Student"), (STUDENT,))] if self._rounds or not there else []
        )
        if self._rounds:
            entries += [(self.tr("Student | {0}").format(names[kind]), (STUDENT, kind)) for kind in there]
        if self._rounds and len(there) > 1:
            entries.append((self.tr("Student | both"), (STUDENT, *there)))
        entries += [(names[kind].capitalize(), (kind,)) for kind in there]
        if len(self._rounds) > 1:
            entries.append((self.tr("Student through the steps"), (STEPS,)))
        if [self.shown.itemData(i) for i in range(self.shown.count())] == [list(kinds) for _, kinds in entries]:
            return
        before = self.shown.currentData()
        self.shown.blockSignals(True)
        self.shown.clear()
        for words, kinds in entries:
            self.shown.addItem(words, list(kinds))
        self.shown.setCurrentIndex(max(0, self.shown.findData(before)))
        self.shown.blockSignals(False)
        self.shown.setVisible(self.shown.count() > 1)

    def _show(self) -> None:
        self._paint()
        self._ask()
        one = self.shown_round
        has_any = one is not None or any(self._samples.has(kind) for kind in REFERENCES)
        for widget in (self._area, self.words):
            widget.setVisible(has_any)
        self.slider.setVisible(one is not None)
        self.play.setVisible(one is not None)
        self._empty.setVisible(not has_any)
        if self._is_over:
            self._empty.setText(self.tr("This run ended before its first preview."))
        else:
            self._empty.setText(self.tr("No previews yet. The first comes as soon as the run has loaded its teacher."))
        if one is None:
            self.words.setText("")
            return
        parts = [self.tr("Step {0}").format(f"{one.step:,}")]
        if one.figure is not None:
            name, value = one.figure
            parts.append(f"{said(name.replace('_', ' ').capitalize())} {run_words.figure(value)}")
        if self.slider.value() == self._best:
            parts.append(self.tr("best so far"))
        if one.superseded:
            parts.append(self.tr("superseded by a later attempt"))
        self.words.setText("  ·  ".join(parts))
        self.slider.setAccessibleDescription(self.words.text())
        scores = (f"{curve_words(name)}: {run_words.figure(value)}" for name, value in one.scores.items())
        self.words.setToolTip("\n".join(scores))

    def _kinds(self) -> list[str]:
        return list(self.shown.currentData() or [STUDENT])

    def _pictures(self, kind: str, one: Round | None) -> Mapping[int, Sample]:
        if kind == STUDENT:
            return one.pictures if one is not None else {}
        return self._samples.reference(kind)

    def _lines(self) -> list[list[Sample]]:
        """By prompt or class, the pictures of some steps up to the one that the slider is at."""
        rounds = spread(self._rounds[: self.slider.value() + 1], MOST_STEPS)
        if not rounds:
            return []
        common = {p: s for p, s in rounds[-1].pictures.items() if all(p in one.pictures for one in rounds)}
        return [[one.pictures[place] for one in rounds] for place in one_of_each(common, MOST_LINES)]

    def _tile(self, caption: str, found: Sequence[Sample | None]) -> Tile:
        first = next(sample for sample in found if sample is not None)
        trouble = " ".join(self._store.why_missing(sample) for sample in found if sample is not None).strip()
        pictures = tuple(None if sample is None else self._store.get(sample) for sample in found)
        return Tile(caption, pictures, sample_words(first, self.tr), trouble)

    def _paint_lines(self) -> None:
        lines = self._lines()
        tiles = [self._tile(self.tr("Step {0}").format(f"{s.step:,}"), [s]) for line in lines for s in line]
        heads = [line[0].label for line in lines] if any(line[0].label for line in lines) else []
        self.grid.show_tiles(tiles, across=max(map(len, lines), default=0), heads=heads)

    def _paint(self) -> None:
        if self._kinds() == [STEPS]:
            self._paint_lines()
            return
        one = self.shown_round
        sets = [self._pictures(kind, one) for kind in self._kinds()]
        tiles = []
        for place in sorted({place for samples in sets for place in samples}):
            found = [samples.get(place) for samples in sets]
            tiles.append(self._tile(next(sample.label for sample in found if sample is not None), found))
        self.grid.show_tiles(tiles, faint=one is not None and one.superseded and self._kinds() == [STUDENT])

    def _ask(self) -> None:
        """Load what is shown and its neighbours."""
        at = self.slider.value()
        wanted: list[Sample] = []
        kinds = self._kinds()
        if kinds == [STEPS]:
            self._store.want("previews", [sample for line in self._lines() for sample in line])
            return
        for kind in kinds:
            wanted += self._pictures(kind, self.shown_round).values()
        if STUDENT in kinds:
            for by in NEIGHBOURS:
                if 0 <= at + by < len(self._rounds):
                    wanted += self._rounds[at + by].pictures.values()
        self._store.want("previews", wanted)

    # Playing and opening

    def _play(self, on: bool) -> None:
        self.play.show_icon("pause" if on else "play")
        if on:
            if self.slider.is_at_end:
                self.slider.setValue(0)
            self._clock.start()
        else:
            self._clock.stop()

    def _next(self) -> None:
        one = self.shown_round
        if one is None or not self.isVisible():
            self.play.setChecked(False)
            return
        pictures = one.pictures.values()
        if any(self._store.get(sample) is None and not self._store.why_missing(sample) for sample in pictures):
            return  # a round that is passed before it was seen is of no use
        self.slider.setValue(self.slider.value() + 1)
        if self.slider.is_at_end:
            self.play.setChecked(False)

    def _open(self, index: int) -> None:
        if self._kinds() == [STEPS]:
            PictureView(self._store, [sample for line in self._lines() for sample in line], index, self).open()
            return
        one = self.shown_round
        sets = [self._pictures(kind, one) for kind in self._kinds()]
        places = sorted({place for samples in sets for place in samples})
        samples = [samples[place] for place in places for samples in sets if place in samples]
        chosen = next(samples_[places[index]] for samples_ in sets if places[index] in samples_)
        PictureView(self._store, samples, samples.index(chosen), self).open()
