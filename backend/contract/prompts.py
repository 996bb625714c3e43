"""Prompt files: one prompt a line, as UTF-8 text. Read here and nowhere else; what a prompt means is the teacher's."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from backend.contract.errors import DataError

MOST_PROMPTS = 100_000
LONGEST_PROMPT = 10_000  # characters; a longer line is no prompt but another kind of file
LARGEST_FILE = 64 * 1024**2  # bytes

# The longer mark first: that of UTF-32 begins with that of UTF-16.
_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file in its order, each once, without white space around them.

    blank, duplicates: how many lines were left out because they were empty, or said what an earlier one says.
    """

    prompts: tuple[str, ...]
    blank: int = 0
    duplicates: int = 0

    def __len__(self) -> int:
        return len(self.prompts)

    def skipped_in_words(self) -> str:
        """One line such as "left out 3 of 20 lines: 2 blank, 1 duplicates"; empty where all were used."""
        left_out = self.blank + self.duplicates
        if not left_out:
            return ""
        counts = {"blank": self.blank, "duplicates": self.duplicates}
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
        return f"left out {left_out} of {left_out + len(self)} lines: {reasons}"


def read_prompts(path: Path) -> PromptFile:
    """The prompts in the file at `path`. Raises `DataError` where it cannot be read, is not UTF-8 or holds none."""
    return parse_prompts(_bytes_of(path), str(path))


def parse_prompts(content: bytes, name: str) -> PromptFile:
    """The prompts in a file's bytes; `name` is what a `DataError` calls it.

    A mark of UTF-8 at the start is accepted, and so is every end of line. No line is a comment.
    """
    text = decode(content, name)
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_PROMPT:
            raise DataError(f"Line {number} of {name} has {len(line):,} characters; write one prompt a line.")
    written = [line for line in lines if line]
    prompts = tuple(dict.fromkeys(written))
    if not prompts:
        raise DataError(f"{name} holds no prompt; write one a line.")
    if len(prompts) > MOST_PROMPTS:
        raise DataError(f"{name} holds {len(prompts):,} prompts; give at most {MOST_PROMPTS:,}.")
    return PromptFile(prompts, len(lines) - len(written), len(written) - len(prompts))


def decode(content: bytes, name: str) -> str:
    """UTF-8 text, without the mark it may begin with. Raises `DataError` for any other encoding."""
    for mark, encoding in _OTHER_MARKS.items():
        if content.startswith(mark):
            raise DataError(f"{name} is {encoding} text; save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} is not UTF-8 text (line {line}); save it as UTF-8.") from None
    if "\0" in text:
        raise DataError(f"{name} is not text; give a text file with one prompt a line, saved as UTF-8.")
    return text


def _bytes_of(path: Path) -> bytes:
    if not path.exists():
        raise DataError(f"There is no prompt file {path}; choose a text file with one prompt a line.")
    if not path.is_file():
        raise DataError(f"{path} is not a file; choose a text file with one prompt a line.")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path} is larger than {LARGEST_FILE // 1024**2} MiB; give a shorter list of prompts.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
