from pathlib import Path

import pytest

from backend.contract import prompts
from backend.contract.errors import DataError
from backend.contract.prompts import PromptFile, parse_prompts, read_prompts


def test_one_prompt_a_line_in_the_files_order(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes("a honeybee\n# not a comment\nein Käfer, 蜂\n".encode())
    assert read_prompts(file) == PromptFile(("a honeybee", "# not a comment", "ein Käfer, 蜂"))


@pytest.mark.parametrize("content", [b"a\nb", b"a\r\nb\r\n", b"a\rb\r", b"\xef\xbb\xbfa\nb\n", b"  a \n\tb\t\n"])
def test_marks_ends_of_lines_and_white_space_are_no_part_of_a_prompt(content: bytes) -> None:
    assert parse_prompts(content, "x").prompts == ("a", "b")


def test_separators_inside_a_line_do_not_end_it() -> None:
    assert parse_prompts("a\u2028b\x0bc\n".encode(), "x").prompts == ("a\u2028b\x0bc",)


def test_blank_lines_and_duplicates_are_counted() -> None:
    found = parse_prompts(b"bee\n\n  \nant\nbee\n bee\n\n", "x")
    assert found == PromptFile(("bee", "ant"), blank=3, duplicates=2)
    assert found.skipped_in_words() == "left out 5 of 7 lines: 3 blank, 2 duplicates"
    assert parse_prompts(b"bee\n", "x").skipped_in_words() == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "mine holds no prompt; write one a line."),
        (b"\n \n\n", "mine holds no prompt; write one a line."),
        ("bee\nK\u00e4fer\n".encode("latin-1"), "mine is not UTF-8 text (line 2); save it as UTF-8."),
        ("bee".encode("utf-16"), "mine is UTF-16 text; save it as UTF-8."),
        ("bee".encode("utf-32"), "mine is UTF-32 text; save it as UTF-8."),
        ("bee".encode("utf-16-le"), "mine is not text; give a text file with one prompt a line, saved as UTF-8."),
        (b"bee\n" + 10_001 * b"a", "Line 2 of mine has 10,001 characters; write one prompt a line."),
    ],
)
def test_what_is_no_list_of_prompts_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(DataError) as refused:
        parse_prompts(content, "mine")
    assert str(refused.value) == said


def test_too_many_prompts_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prompts, "MOST_PROMPTS", 2)
    assert len(parse_prompts(b"a\nb\na\n", "x")) == 2
    with pytest.raises(DataError, match=r"x holds 3 prompts; give at most 2\."):
        parse_prompts(b"a\nb\nc\n", "x")
    monkeypatch.setattr(prompts, "LARGEST_FILE", 1024**2)
    (tmp_path / "long.txt").write_bytes(b"a\n" * 1024**2)
    with pytest.raises(DataError, match=r"long\.txt is larger than 1 MiB"):
        read_prompts(tmp_path / "long.txt")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no prompt file"):
        read_prompts(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match="is not a file"):
        read_prompts(tmp_path)
