"""Where the files that ship with the program lie."""

from pathlib import Path

RESOURCES = Path(__file__).resolve().parents[1] / "resources"

BUNDLED_DATA = ("digits", "digits-held-out", "digits-all", "emoji")
"""Names of the data sets among them."""
