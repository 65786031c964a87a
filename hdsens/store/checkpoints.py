"""Checkpoints of packs in training: parameters, optimizer state and step, kept until the commit.

    checkpoints/<pack>.safetensors

One file each, so that it appears whole: arrays with axis 0 = cell, and in the header, as JSON, the
cells, the step and the details. Nothing in it is executed when it is read. A checkpoint serves any
subset of its cells, in packs of any name.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Collection, Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from hdsens.records import Snapshot
from hdsens.store.place import Place
from hdsens.study.packs import hash_of_ids

FOLDER = "checkpoints"
MAX_HEADER = 100_000_000
_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
_LABEL = "hdsens"
_log = logging.getLogger(__name__)


def write_checkpoint(
    place: Place, cell_ids: Collection[str], snapshot: Snapshot, versions: Mapping[str, str]
) -> None:
    """Write the checkpoint of the pack with these cells, in place of its previous one.

    Raises:
        OSError: the disk is full or gone.
    """
    label = {
        "versions": dict(versions),
        "step": snapshot.step,
        "cell_ids": list(snapshot.cell_ids),
        "pack": sorted(cell_ids),
        "details": dict(snapshot.details),
    }
    place.write(_file(cell_ids), save(dict(snapshot.arrays), {_LABEL: json.dumps(label)}))


def find_checkpoint(
    place: Place, cell_ids: Collection[str], versions: Mapping[str, str]
) -> Snapshot | None:
    """Return the snapshot that holds most of these cells; None where none holds any.

    One that cannot be read, or that other versions wrote, is passed over with a line in the log.
    """
    best, most = None, 0
    for name in _names(place):
        label = _label(place, name)
        if label is None:
            continue
        shared = len(set(cell_ids) & set(label["pack"]))
        if shared > most and _same_versions(name, label, versions):
            best, most = name, shared
    return None if best is None else _read(place, best)


def delete_checkpoints(place: Place, done: Collection[str]) -> None:
    """Delete checkpoints whose cells all have a result, and unreadable ones."""
    for name in _names(place):
        label = _label(place, name)
        if label is None or set(label["pack"]) <= set(done):
            place.delete(name)


def delete_checkpoint(place: Place, cell_ids: Collection[str]) -> None:
    """Delete the checkpoint of the pack with exactly these cells, if there is one."""
    place.delete(_file(cell_ids))


def _file(cell_ids: Collection[str]) -> str:
    return f"{FOLDER}/{hash_of_ids(cell_ids)}.safetensors"


def _names(place: Place) -> list[str]:
    return [f"{FOLDER}/{name}" for name in sorted(place.entries(FOLDER)) if _NAME.fullmatch(name)]


def _same_versions(name: str, label: Mapping[str, Any], versions: Mapping[str, str]) -> bool:
    if label["versions"] == dict(versions):
        return True
    _log.warning("%s was written by other versions: its cells start anew", name)
    return False


def _label(place: Place, name: str) -> dict[str, Any] | None:
    """Read a checkpoint's header; None where it cannot be read."""
    try:
        with place.open(name) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER:
                raise ValueError("its header is too long")
            label = json.loads(json.loads(file.read(length))["__metadata__"][_LABEL])
        return _checked(label)
    except FileNotFoundError:  # committed and deleted meanwhile
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
        _pass_over(place, name, error)
        return None


def _checked(label: Any) -> dict[str, Any]:
    kinds = {"versions": dict, "step": int, "cell_ids": list, "pack": list, "details": dict}
    if not isinstance(label, dict) or any(
        not isinstance(label.get(k), t) for k, t in kinds.items()
    ):
        raise ValueError("its header is not ours")
    if not all(isinstance(i, str) for i in (*label["cell_ids"], *label["pack"])):
        raise ValueError("its cells are no names")
    return label


def _read(place: Place, name: str) -> Snapshot | None:
    label = _label(place, name)
    if label is None:
        return None
    try:
        arrays = load(place.read(name))
        cell_ids = tuple(label["cell_ids"])
        if any(a.ndim < 1 or a.shape[0] != len(cell_ids) for a in arrays.values()):
            raise ValueError("its arrays have other cells than its header")
        return Snapshot(label["step"], cell_ids, arrays, label["details"])
    except (OSError, ValueError, SafetensorError) as error:
        _pass_over(place, name, error)
        return None


def _pass_over(place: Place, name: str, error: Exception) -> None:
    _log.warning("checkpoint %s cannot be used, its cells start anew: %s", place.show(name), error)
