"""Makes the file in which a language is translated, or brings it up to date with the sources.

    python -m app.translations resources/translations/de.ts

What was translated stays; Qt Linguist shows what is new. The window speaks a language as soon as its file is there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from app.translations import read
from app.translations.collect import collect, parts_of_recipes, write


def main() -> int:
    """Collect, and write the file; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.translations", description="Collect what is to be translated.")
    parser.add_argument("file", type=Path, help="a file of Qt Linguist, named after its language: de.ts")
    file = parser.parse_args().file
    described = subprocess.run([sys.executable, "-m", "backend", "describe"], stdout=subprocess.PIPE, check=True).stdout
    messages = collect({"catalogue": json.loads(described), "recipe": parts_of_recipes()})
    file.parent.mkdir(parents=True, exist_ok=True)
    texts, todo = write(messages, file, read(file) if file.exists() else {})
    print(f"{file}: {texts} texts, {todo} to be translated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
