"""A form of settings as their schema declares them: what the pages of a run are asked for changes with."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDoubleSpinBox, QFormLayout, QSpinBox, QWidget

from app import look
from app.translations import said
from backend.contract import recipe

MOST = 10**7
"""Where no highest value is declared."""
WIDTH = 40 * look.SPACE


class SettingForm(QFormLayout):
    """Words at the left and fields of their own size beside them; long words get a line to themselves."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, look.GAP, look.GAP, 0)
        self.setHorizontalSpacing(look.MARGIN)
        self.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.FieldsStayAtSizeHint)
        self.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def add_setting(self, name: str) -> QSpinBox | QDoubleSpinBox:
        """A row for a number among the settings of training, by its name there: its field."""
        declared = recipe.Training.model_json_schema()["properties"][name]
        field: QSpinBox | QDoubleSpinBox
        if declared["type"] == "integer":
            field = QSpinBox()
            field.setRange(int(declared.get("minimum", 0)), int(declared.get("maximum", MOST)))
        else:
            field = QDoubleSpinBox()
            field.setDecimals(3)
            field.setSingleStep(0.1)
            field.setRange(declared["minimum"], declared["maximum"])
        look.padded(field)
        field.setSuffix(f" {said(declared.get('unit', ''))}".rstrip())
        field.setMinimumWidth(WIDTH)
        words = said(declared["description"])
        field.setAccessibleName(words)
        self.addRow(words, field)
        return field
