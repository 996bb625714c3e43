"""A language, read from the file in which it was translated."""

import json
from pathlib import Path

import pytest
from PySide6.QtCore import QTranslator
from PySide6.QtWidgets import QApplication

from app import translations
from app.translations import BACKEND, Language, collect, read, said

CATALOGUE = json.loads((Path(__file__).parents[1] / "catalogue.json").read_text(encoding="utf-8"))
GERMAN = {
    BACKEND: {
        "{0} is {1}, {2}; {3}.": "{0} ist {1}, {2}; {3}.",
        "below its lowest value {0}": "unter dem kleinsten Wert {0}",
        "choose between {0} and {1}{2}": "waehlen Sie {0} bis {1}{2}",
        "{0} or more{1}": "{0}{1} oder mehr",
        "Student steps": "Schritte des Studenten",
        "steps": "Schritte",
        "The run broke down: {0}": "Der Lauf ist gescheitert: {0}",
        "there is no checkpoint yet": "es gibt noch keinen Stand",
    },
    "RunHeader": {"Details": "Einzelheiten"},
    "run_words": {"Running": "Laeuft", "Details": "anderes"},
}


@pytest.fixture
def language() -> Language:
    return Language(GERMAN)


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Student steps", "Schritte des Studenten"),
        ("0 or more steps", "0 Schritte oder mehr"),
        ("0 or more", "0 oder mehr"),
        (
            "Student steps is 0, below its lowest value 1; choose between 1 and 8 steps.",
            "Schritte des Studenten ist 0, unter dem kleinsten Wert 1; waehlen Sie 1 bis 8 Schritte.",
        ),
        ("Some words of nobody; there is no checkpoint yet.", "Some words of nobody; es gibt noch keinen Stand."),
    ],
)
def test_a_sentence_with_values_in_it_is_translated(language: Language, english: str, german: str) -> None:
    assert language.translate(BACKEND, english) == german


def test_a_value_that_is_in_no_language_stays(language: Language) -> None:
    said_of = language.translate(BACKEND, "The run broke down: loss_of_mine is nan")
    assert said_of == "Der Lauf ist gescheitert: loss_of_mine is nan"


def test_what_is_not_translated_is_left_to_others(language: Language) -> None:
    assert language.translate(BACKEND, "Nothing of the kind") is None
    assert language.translate("QDialogButtonBox", "OK") is None


def test_words_made_outside_of_a_widget_are_found_in_the_context_of_any_caller(language: Language) -> None:
    assert language.translate("RunScreen", "Running") == "Laeuft"


def test_an_own_context_comes_first(language: Language) -> None:
    assert language.translate("RunHeader", "Details") == "Einzelheiten"


def test_a_file_is_read_as_it_was_written_and_keeps_what_was_translated(tmp_path: Path) -> None:
    file = tmp_path / "de.ts"
    messages: collect.Messages = {"A": dict.fromkeys(["one", "two & <b>"]), BACKEND: dict.fromkeys(["three"])}
    assert collect.write(messages, file, {"A": {"two & <b>": "zwei & <b>"}}) == (3, 2)
    assert read(file) == {"A": {"two & <b>": "zwei & <b>"}, BACKEND: {}}
    assert collect.write(messages, file, read(file)) == (3, 2)


def test_the_window_speaks_the_systems_first_language_that_has_a_file(qapp: QApplication, tmp_path: Path) -> None:
    collect.write({BACKEND: {"steps": None}}, tmp_path / "de.ts", {BACKEND: {"steps": "Schritte"}})
    before = said("steps")
    translations.install(qapp, tmp_path, ["en-GB", "de-DE"])
    in_english = said("steps")
    translations.install(qapp, tmp_path, ["xx", "de-DE"])
    in_german, of_qt = said("steps"), QApplication.translate("QPlatformTheme", "Cancel")
    for made in qapp.findChildren(QTranslator):
        qapp.removeTranslator(made)
        made.deleteLater()
    assert (before, in_english, in_german, said("steps")) == ("steps", "steps", "Schritte", "steps")
    assert of_qt == "Abbrechen"


@pytest.fixture(scope="module")
def messages() -> collect.Messages:
    return collect.collect({"catalogue": CATALOGUE, "recipe": collect.parts_of_recipes()})


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("RunHeader", "Details"),  # a widget's
        ("run_words", "{0} min {1} s"),  # a model's, which is given its `tr`
        (BACKEND, "adafactor"),  # a choice
        (BACKEND, "Fake score learning rate"),  # a setting's name
        (BACKEND, "{0} is a folder; name a picture in it."),
        (BACKEND, "The discriminator still teaches the student."),
        (BACKEND, "{0} gradient norm"),  # a curve whose name has a network's in it
        (BACKEND, "It waits in the queue."),
    ],
)
def test_a_text_of_every_kind_is_collected(messages: collect.Messages, context: str, words: str) -> None:
    assert words in messages[context]


def test_no_documentation_and_no_sql_is_collected(messages: collect.Messages) -> None:
    odd = [words for words in messages[BACKEND] if "SELECT" in words or "pragma" in words.lower() or "\n" in words]
    assert not odd
    assert not [words for words in messages[BACKEND] if words.startswith("What the backend offers, as data")]
