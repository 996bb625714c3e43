"""What a file or folder is that was dropped on the window."""

from __future__ import annotations

from pathlib import Path

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FILES = {".json": "recipe", ".safetensors": "teacher", ".txt": "prompts"}
MODEL_FILES = ("model_index.json", "config.json", "scheduler/scheduler_config.json", "unet/config.json")


def is_zip(path: Path) -> bool:
    """Whether a path is a zip, which is taken for one of pictures."""
    return path.suffix.lower() == ".zip" and path.is_file()


def contents(path: Path) -> str:
    """What a dropped path is: "recipe", "teacher", "data", "prompts", or "" where it is not seen."""
    if path.is_file():
        return "data" if is_zip(path) else FILES.get(path.suffix.lower(), "")
    if any((path / name).is_file() for name in MODEL_FILES):
        return "teacher"
    below = [path, *sorted(child for child in path.glob("*") if child.is_dir())[:50]]
    found = (file.suffix.lower() in PICTURES for folder in below for file in folder.glob("*"))
    return "data" if any(found) else ""
