"""The tables `series`, `points`, `batches`, `pyramid` and `pyramid_states`: what `metrics` knows, as the project says
it. The SQL is in `metrics` and `pyramid`, with the mathematics that it cannot be told apart from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from backend.contract.metrics import Curve, MetricRow, NewPoints, Overview, Pace
from backend.contract.pyramid import END, Steps, Values
from backend.contract.rows import Series
from backend.contract.tables.attempts import Attempts


class Curves(Attempts):
    """What the attempts of a project measured, step by step."""

    def record(self, attempt: int, rows: Sequence[MetricRow]) -> None:
        """Record the metrics of some steps in one transaction."""
        self._metrics.record(self.attempt(attempt).run, attempt, rows)

    def series(self, run: int) -> list[Series]:
        """The curves of a run."""
        return self._metrics.series(run)

    def find_series(self, run: int, name: str) -> Series | None:
        """The curve of that name, None when nothing was recorded under it."""
        return next((series for series in self.series(run) if series.name == name), None)

    def metrics_after(self, run: int, cursor: int = 0) -> NewPoints:
        """Points recorded after `cursor` (0: all) and the next cursor. See `Metrics.after`."""
        return self._metrics.after(run, cursor)

    def metrics_cursor(self, run: int) -> int:
        """Grows whenever metrics of a run were recorded; what `metrics_after` would return as its cursor."""
        return self._metrics.cursor(run)

    def pace(self, run: int) -> Pace:
        """How fast the run's newest attempt goes. See `Metrics.pace`."""
        return self._metrics.pace(run)

    def latest_metrics(self, run: int) -> dict[str, tuple[int, float]]:
        """Name -> (step, value) at the end of each line."""
        return self._metrics.latest(run)

    def points(self, series: Series, first: int = -END, last: int = END, *, superseded: bool = False) -> Curve:
        """Every point of a line between two steps. See `Metrics.points`."""
        return self._metrics.points(series, first, last, superseded=superseded)

    def overview(
        self, series: Series, first: int = -END, last: int = END, pixels: int = 1000, *, superseded: bool = False
    ) -> Overview:
        """A line in at most `pixels` columns of lowest and highest values. See `Metrics.overview`."""
        return self._metrics.overview(series, first, last, pixels, superseded=superseded)

    def axis(self, run: int, kind: Literal["wall", "images", "nfe"], steps: Steps) -> Values:
        """Steps as seconds of training ("wall"), "images" or "nfe". See `Metrics.axis`."""
        return self._metrics.axis(run, kind, steps)

    def rebuild_pyramid(self, run: int, *, only_dirty: bool = False) -> None:
        """Make what `overview` reads again from the points."""
        self._metrics.rebuild(run, only_dirty=only_dirty)
