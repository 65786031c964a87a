"""Where a store's files lie: a folder on disk, or a prefix in an object store.

Both give the same few operations on names relative to the store, such as ``parts/x.parquet``. A
write appears whole or not at all: on disk by a temporary name, fsync and rename, in an object store
because an object appears when its upload is complete.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from hdsens.errors import InputError

Location = str | Path
"""A folder, or the URI of a prefix in an object store such as ``s3://bucket/results/mine``."""

SCHEMES = ("s3", "gs")
GS_PATIENCE_S = 60
"""Google's client tries again for so long where the URI says nothing; by itself for 15 minutes."""
FOLDERS = ("parts", "plan", "runs", "checkpoints")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a store: its size in bytes, and when it was written, in seconds since 1970."""

    size: int
    changed: float


class Place(ABC):
    """A folder or prefix. Names are relative to it; errors are OSErrors."""

    @abstractmethod
    def show(self, name: str) -> str:
        """Return the name of a file as a person would write it."""

    @abstractmethod
    def prepare(self) -> None:
        """Create what must exist before the first write."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """Open a file for Arrow to read; FileNotFoundError where there is none."""

    @abstractmethod
    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file in one step: readers see the old content or the new, never a part of it."""

    @abstractmethod
    def entry(self, name: str) -> Entry | None:
        """Return size and time of a file; None where there is none."""

    @abstractmethod
    def entries(self, folder: str) -> dict[str, Entry]:
        """Return the files directly in a folder, by their names; empty where there is none."""

    @abstractmethod
    def move(self, name: str, new: str) -> None:
        """Rename a file."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""

    @abstractmethod
    def sweep(self, older_than_s: float) -> None:
        """Delete temporary files of killed writers that are older than so many seconds."""

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        with self.open(name) as file:
            content: bytes = file.read()
        return content


def place_of(location: Location) -> Place:
    """Return the place that a path or URI stands for.

    Raises:
        InputError: a URI of an unknown kind, without a bucket, or with a password in it.
    """
    location = as_location(location)
    return Folder(location) if isinstance(location, Path) else Bucket(_checked(location))


def as_location(given: Location) -> Location:
    """Turn a location into a path, unless it is the URI of an object store."""
    return given if isinstance(given, str) and "://" in given else Path(given)


@dataclass(frozen=True)
class Folder(Place):
    """A folder on a file system of this machine; it need not exist yet."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def show(self, name: str) -> str:
        """The path of a file."""
        return str(self.path / name)

    def prepare(self) -> None:
        """Make the folder and those inside it."""
        for name in FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)

    def open(self, name: str) -> Any:
        """Open a file; bytes, because a path need not be Unicode.

        A pipe or a device would be waited for, or read, for ever.
        """
        path = self.path / name
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return pa.OSFile(os.fsencode(path))

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write to a temporary name, which takes the place of the file or leaves no trace."""
        path = self.path / name
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def sweep(self, older_than_s: float) -> None:
        """Remove temporary files."""
        for folder in (".", *FOLDERS):
            for name, entry in self.entries(folder).items():
                if _TEMPORARY.fullmatch(name) and time.time() - entry.changed > older_than_s:
                    self.delete(f"{folder}/{name}")

    def entry(self, name: str) -> Entry | None:
        """Size and time of anything of that name."""
        try:
            found = (self.path / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        return Entry(found.st_size, found.st_mtime)

    def entries(self, folder: str) -> dict[str, Entry]:
        """The files in a folder; one that vanishes meanwhile is left out."""
        found: dict[str, Entry] = {}
        try:
            inside = list(os.scandir(self.path / folder))
        except (FileNotFoundError, NotADirectoryError):
            return found
        except OSError as error:
            raise self._unreadable(error) from None
        for file in inside:
            entry = self.entry(f"{folder}/{file.name}")
            if entry is not None:
                found[file.name] = entry
        return found

    def move(self, name: str, new: str) -> None:
        """Rename in one step."""
        (self.path / name).rename(self.path / new)

    def _unreadable(self, error: Exception) -> InputError:
        return InputError(
            f"results {str(self.path)!r}",
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            remedy="check the path and its permissions",
        )

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Bucket(Place):
    """A prefix in an object store; credentials come from the environment, never from the URI."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        with self._reachable():
            system, prefix = fs.FileSystem.from_uri(_patient(self.uri))
        return system, prefix.rstrip("/")

    def _path(self, name: str) -> tuple[Any, str]:
        system, prefix = self._opened
        return system, f"{prefix}/{name}"

    def show(self, name: str) -> str:
        """The address of an object."""
        return f"{self.uri.partition('?')[0].rstrip('/')}/{name}"

    def prepare(self) -> None:
        """Nothing: a prefix exists when an object does."""

    def open(self, name: str) -> Any:
        """Open an object."""
        system, path = self._path(name)
        return system.open_input_file(path)

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Upload an object; it appears once it is whole, so a killed writer leaves none."""
        system, path = self._path(name)
        with system.open_output_stream(path) as stream:
            stream.write(content)

    def sweep(self, older_than_s: float) -> None:
        """Nothing: an upload that is cut off leaves no object."""

    def entry(self, name: str) -> Entry | None:
        """Size and time of an object."""
        with self._reachable():
            system, path = self._path(name)
            found = system.get_file_info(path)
        return _entry(found) if found.type == fs.FileType.File else None

    def entries(self, folder: str) -> dict[str, Entry]:
        """The objects directly under a prefix."""
        with self._reachable():
            system, path = self._path(folder)
            found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return {info.base_name: _entry(info) for info in found if info.type == fs.FileType.File}

    def move(self, name: str, new: str) -> None:
        """Copy, then delete: an object store has no rename."""
        system, path = self._path(name)
        system.move(path, self._path(new)[1])

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        system, path = self._path(name)
        try:
            system.delete_file(path)
        except FileNotFoundError:
            return

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turn a first failure to reach an object store into an InputError of one line."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"results {self.uri!r}",
                f"cannot be reached: {error}",
                remedy="check the address, the network and the credentials in the environment",
            ) from None


def _entry(info: Any) -> Entry:
    return Entry(info.size or 0, (info.mtime_ns or 0) / 1e9)


def _checked(uri: str) -> str:
    thing, remedy = "results", "e.g. s3://bucket/folder"
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InputError(thing, "must be a path or a URI", uri, remedy) from None
    nobody = (parts.scheme, parts.username, parts.password) == ("gs", "anonymous", None)
    if not nobody and (parts.username is not None or parts.password is not None):
        raise InputError(thing, "must not hold credentials", remedy="put them into the environment")
    if parts.scheme not in SCHEMES:
        raise InputError(thing, "must begin with s3:// or gs://, or be a path", uri, remedy)
    if not parts.hostname or not uri.isprintable() or ".." in parts.path.split("/"):
        raise InputError(thing, "must name a bucket and a folder in it", uri, remedy)
    return uri


def _patient(uri: str) -> str:
    if not uri.startswith("gs://") or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GS_PATIENCE_S}"


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename survives a power cut where the file system allows it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
