"""How the large libraries are imported."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without looking for garbage meanwhile, nor ever through what came of it.

    There is none among thousands of modules, and Python looks whenever many objects were made: a fifth of the time of
    importing goes into it, and later a good part of what copies of networks take.
    """
    was_on, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if was_on:
            gc.enable()
