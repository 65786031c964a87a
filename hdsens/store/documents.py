"""The JSON files of a store, read without trust: study.json and runs/*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hdsens.errors import InputError
from hdsens.store.parts import DamagedError, broken, damaged, other_version
from hdsens.store.place import Place
from hdsens.store.schema import VERSION, version_of
from hdsens.study import Study

STUDY = "study.json"
MAX_BYTES = 64_000_000
MAX_DEPTH = 40
MAX_TRAIN_SIZE = 2**40


def write_document(place: Place, name: str, content: Mapping[str, Any]) -> None:
    """Write a JSON file, unless it has the same content already."""
    text = json.dumps(content, indent=1).encode()
    if place.entry(name) is None or place.read(name) != text:
        place.write(name, text)


def write_study(place: Place, study: Study, train_size: int) -> None:
    """Make this the store's current study; keys that later versions added stay."""
    content = {
        "schema_version": str(VERSION),
        "train_size": train_size,
        "study": study.model_dump(mode="json"),
    }
    write_document(place, STUDY, {**_carried(place), **content})


def _carried(place: Place) -> dict[str, Any]:
    """Return the present content of study.json; empty where it is absent or damaged."""
    try:
        return {} if place.entry(STUDY) is None else _object(place, STUDY)
    except DamagedError:
        return {}


def read_study(place: Place) -> tuple[Study, int]:
    """Read the current study and its number of training examples. Import nothing that it names.

    Raises:
        DamagedError: study.json is not what a run wrote.
        InputError: there is no store, or one of an unknown version.
    """
    if place.entry(STUDY) is None:
        raise InputError(
            f"results {str(place)!r}",
            "must be a folder that `hdsens run` wrote",
            remedy="check the path",
        )
    content = _object(place, STUDY)
    version = version_of(content.get("schema_version"))
    if "schema_version" in content and version is None:
        raise other_version(f"results {str(place)!r}", content["schema_version"])
    size = content.get("train_size")
    if version is None or not {"train_size", "study"} <= set(content):
        raise damaged(place, STUDY, "must hold schema_version, train_size and study")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_TRAIN_SIZE:
        raise damaged(place, STUDY, f"must have a train_size from 1 to {MAX_TRAIN_SIZE}")
    try:
        return Study.from_dict(content["study"], stored=True), size
    except InputError as error:
        raise broken(place, STUDY, f"must hold a valid study: {error}", version) from None


def read_runs(place: Place) -> tuple[dict[str, Any], ...]:
    """Read the provenance of all runs, oldest first.

    Raises:
        DamagedError: a file is not what a run wrote.
    """
    return tuple(read_run(place, name) for name in run_names(place))


def run_names(place: Place) -> list[str]:
    """List the files that hold provenance, oldest first."""
    return sorted(f"runs/{name}" for name in place.entries("runs") if name.endswith(".json"))


def read_run(place: Place, name: str) -> dict[str, Any]:
    """Read the provenance of one run; raises as `read_runs` does."""
    run = _object(place, name)
    if not isinstance(run.get("run_id"), str):
        raise damaged(place, name, "must be the record of a run, with its run_id")
    return run


def _object(place: Place, name: str) -> dict[str, Any]:
    """Read a JSON object of limited size and depth."""
    entry = place.entry(name)
    if entry is not None and entry.size > MAX_BYTES:
        raise damaged(place, name, f"must have at most {MAX_BYTES} bytes")
    try:
        content = json.loads(place.read(name).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(place, name, f"must be readable JSON: {_reason(error)}") from None
    if not isinstance(content, dict) or _deeper(content, MAX_DEPTH):
        raise damaged(place, name, f"must be one JSON object, at most {MAX_DEPTH} tables deep")
    return content


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _deeper(value: object, levels: int) -> bool:
    """Whether lists and tables are nested in more levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(v, levels - 1) for v in inner)
