"""A folder or a zip as a list of named files. Nothing in either is trusted, and a zip is never unpacked to the disk.

Names are relative, with "/" between their parts. Hidden files are not there.
"""

import hashlib
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from backend.contract.errors import DataError

LARGEST_FILE = 256 * 1024**2  # bytes
MOST_FILES = 1_000_000


class LeftOut(Exception):
    """This file cannot be used; the message completes "3 ..." in a count."""


class Files(Protocol):
    """Files by name. kind: what they lie in. where: what a person called it. strange: those that are never read, by the
    reason why."""

    kind: str
    where: str
    names: tuple[str, ...]
    strange: dict[str, tuple[str, ...]]

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `LeftOut` where it cannot be had."""
        ...

    def digest(self) -> str:
        """SHA-256 of all names and contents, in hexadecimal."""
        ...


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """The files of a folder or a zip while inside. Raises `DataError` where it is neither."""
    if not path.exists():
        raise DataError(f"There is no folder or zip {path}; choose one that holds pictures.")
    if path.is_dir():
        yield Folder(path)
        return
    if path.suffix.lower() != ".zip" or not path.is_file():
        raise DataError(f"{path} is not a folder and not a zip; choose the folder or the zip that holds the pictures.")
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    # What zipfile raises at bytes that lie: of its own kind, or of whatever it tried to make of them.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, LookupError, UnicodeError) as error:
        raise DataError(f"{path} is no whole zip; copy or pack it again.") from error
    with archive:
        yield Zip(path, archive)


class Folder:
    """The visible files under a folder, sorted by name; links to folders are not followed."""

    kind = "folder"

    def __init__(self, folder: Path) -> None:
        self.where, self._folder = str(folder), folder
        self.strange: dict[str, tuple[str, ...]] = {}
        found = []
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not _is_hidden(name)]
            found += [Path(parent, name).relative_to(folder).as_posix() for name in names if not _is_hidden(name)]
            _mind_number(len(found), self.where)
        self.names = tuple(sorted(found))

    def read(self, name: str) -> bytes:
        path = self._folder / name
        try:
            if not path.is_file():  # a pipe, which would be waited for, or a link to nothing
                raise LeftOut("not pictures")
            if path.stat().st_size > LARGEST_FILE:
                raise LeftOut("too large")
            return path.read_bytes()
        except PermissionError:
            raise LeftOut("not allowed to be read") from None
        except OSError:
            raise LeftOut("broken") from None

    def digest(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(repr(name).encode())
            try:
                digest.update(hashlib.sha256(self.read(name)).digest())
            except LeftOut as reason:
                digest.update(str(reason).encode())
        return digest.hexdigest()


class Zip:
    """The visible files of a zip, sorted by name.

    One folder around everything is taken off, as programs add one when they pack a folder of class folders.
    """

    kind = "zip"

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.where, self._path, self._zip = str(path), path, archive
        infos = [info for info in archive.infolist() if not info.is_dir()]
        _mind_number(len(infos), self.where)
        found: dict[str, zipfile.ZipInfo] = {}
        outside = []
        for info in infos:
            name = info.filename.replace("\\", "/")
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
                outside.append(name)
            elif not any(_is_hidden(part) for part in parts):
                found["/".join(part for part in parts if part)] = info
        self.strange = {"with names that lead outside": tuple(sorted(outside))} if outside else {}
        around = _folder_around(list(found))
        self._infos = {name.removeprefix(around): info for name, info in found.items()}
        self.names = tuple(sorted(self._infos))

    def read(self, name: str) -> bytes:
        info = self._infos[name]
        if info.flag_bits & 1:
            raise LeftOut("encrypted")
        if info.file_size > LARGEST_FILE:  # a small zip can hold, or claim, any size
            raise LeftOut("too large")
        try:
            with self._zip.open(info) as file:
                return file.read(LARGEST_FILE)
        except NotImplementedError:  # how zipfile says that it does not know the compression
            raise LeftOut("packed in a way that is not read") from None
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError):
            raise LeftOut("broken") from None

    def digest(self) -> str:
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _mind_number(count: int, where: str) -> None:
    if count > MOST_FILES:
        raise DataError(f"{where} holds more than {MOST_FILES:,} files; choose one with fewer.")


def _folder_around(names: list[str]) -> str:
    """The folder, with its "/", that all names begin with where something below it lies in folders; else ""."""
    first = {name.partition("/")[0] + "/" for name in names}
    if len(first) != 1:
        return ""
    (around,) = first
    below = [name.removeprefix(around) for name in names]
    return around if all(below) and any("/" in name or name == "metadata.jsonl" for name in below) else ""
