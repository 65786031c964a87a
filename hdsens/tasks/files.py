"""Where data files lie: the folder in ``HDSENS_DATA``, else the cache, else a download."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdsens.errors import InputError

DATA_VARIABLE = "HDSENS_DATA"
CACHE_VARIABLE = "HDSENS_CACHE"

# Seconds to connect and to wait for the next byte: an offline machine shall hear of it soon.
TIMEOUT_S = (5.0, 30.0)


@dataclass(frozen=True)
class Download:
    """A public file: where it goes below a data folder, where it comes from, its MD5."""

    path: str
    url: str
    md5: str


def data_folder() -> Path | None:
    """Return the folder that ``HDSENS_DATA`` names; None when it is unset or empty.

    Raises:
        InputError: it names something that is not a folder.
    """
    given = os.environ.get(DATA_VARIABLE)
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise InputError(DATA_VARIABLE, "must name a folder that exists", given)
    return folder


def cache_folder() -> Path:
    """Return the folder for downloads: ``HDSENS_CACHE``, else the system's place for caches."""
    import pooch  # here, as names of data sets are checked where nothing is downloaded

    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path(pooch.os_cache("hdsens"))


def find_file(paths: Sequence[str]) -> Path | None:
    """Return the first of some paths that exists, in the data folder before the cache."""
    folders = [folder for folder in (data_folder(), cache_folder()) if folder]
    candidates = (folder / path for folder in folders for path in paths)
    return next((path for path in candidates if path.is_file()), None)


def obtain_file(name: str, paths: Sequence[str], download: Download | None) -> Path:
    """Find a file of the data set ``name``, or download it into the cache.

    Args:
        name: the data set, for errors.
        paths: alternatives below a data folder, the preferred one first.
        download: where to get it; None when it has no public host.

    Raises:
        InputError: absent, and it cannot be downloaded or the download is not the known file.
    """
    found = find_file(paths)
    if found is not None:
        return found
    if download is None:
        raise _absent(name, paths[0], "it has no public host")
    try:
        return _fetch(download)
    except ValueError as error:
        raise InputError(
            f"data set {name!r}: {download.url}",
            f"must have MD5 {download.md5}; what came is another file",
            remedy=_put_it(download.path),
        ) from error
    except OSError as error:
        raise _absent(name, download.path, f"{download.url}: {_reason(error)}") from error


def read_verified(path: Path, md5: str) -> bytes:
    """Read a file (uncompressed where its name ends in ``.gz``), and check its MD5.

    Raises:
        InputError: unreadable, cut short, or not the known content.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise broken_file(path, f"be readable ({type(error).__name__}: {error})") from error
    check_md5(content, md5, path)
    return content


def check_md5(content: bytes, md5: str, path: Path | str) -> None:
    """Check content against its known MD5.

    Raises:
        InputError: they differ; the message names the file.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise broken_file(path, f"have the content with MD5 {md5} (got {found})")


def broken_file(path: Path | str, rule: str) -> InputError:
    """Make the error for a file whose content is not what it should be."""
    return InputError(f"data file {path}", f"must {rule}", remedy="replace it by the original")


def _fetch(download: Download) -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # an error is one line

    target = cache_folder() / download.path
    pooch.retrieve(
        download.url,
        known_hash=f"md5:{download.md5}",
        fname=target.name,
        path=target.parent,
        downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
    )
    return target


def _absent(name: str, path: str, why: str) -> InputError:
    return InputError(
        f"data set {name!r}: file {path}",
        f"must be below the folder in {DATA_VARIABLE} ({data_folder() or 'unset'}) or in the "
        f"cache ({cache_folder()}), and could not be downloaded ({why})",
        remedy=_put_it(path),
    )


def _put_it(path: str) -> str:
    return f"put the file at ${DATA_VARIABLE}/{path}"


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    return error.strerror or type(error).__name__
