"""The one kind of error that is caught at the edges, what a person can act on, and of it what both sides raise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """Its text is one sentence that names the thing, says what is wrong with it and what to do.

    field: dotted name of the recipe's value in which it can be mended, such as `data` or `student.rank`; empty where it
    is not about a recipe, or nothing has said which value.
    """

    field = ""


class DataError(UserError, ValueError):
    """Data or prompts cannot be used; the message says in one sentence what is wrong and what to do."""


@contextmanager
def about(field: str) -> Iterator[None]:
    """What a person has to mend in here is this value of the recipe, unless it is said closer inside."""
    try:
        yield
    except UserError as error:
        error.field = error.field or field
        raise


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """The sentence for a name that nothing has, with the closest one that something has."""
    close = get_close_matches(name, known, n=1)
    return f"There is no {what} {name}; " + (
        f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known)}."
    )
