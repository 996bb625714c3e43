"""What every table of the project file stands on; it knows none of them."""

from __future__ import annotations

import json
from typing import Any

from backend.contract.database import Database, ProjectFileError
from backend.contract.files import files_folder
from backend.contract.metrics import Metrics


class NotInProject(ProjectFileError):
    """A run, attempt, checkpoint or command that the project does not have."""


class Tables:
    """An open database and the folder beside it. A class that needs the tables of another one inherits from it."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._metrics = Metrics(database)
        self.path = database.path
        self.files = files_folder(database.path)
        """Folder of weights, big pictures and logs; made when something is first put there."""


def dump(value: Any) -> str:
    """A value as the JSON that a column of it holds."""
    return json.dumps(value, ensure_ascii=False)
