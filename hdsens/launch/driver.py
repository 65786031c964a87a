"""From a study to a store that holds all its cells, and its page."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from hdsens.errors import InputError, StoppedError, came_through, describe
from hdsens.launch.changes import explain_changes
from hdsens.launch.executor import Means
from hdsens.launch.interrupts import Interrupts
from hdsens.launch.notes import notes, notes_on_plan
from hdsens.launch.opening import EXECUTORS, open_executor
from hdsens.launch.progress import CellProgress
from hdsens.launch.provenance import provenance
from hdsens.launch.resources import Resources, Safeguards
from hdsens.launch.study_file import read_study, store_of_study
from hdsens.launch.work import unwritable
from hdsens.store import Location, Status, Store, read_results
from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.training.check import check_data_again, check_study, fetch_data, training_examples
from hdsens.training.choosing.choice import check_path
from hdsens.training.environment import resolve_device
from hdsens.training.examples import forget_examples

COMPACT_ABOVE = 300
"""Parts; a run that leaves more compacts them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """What a run returns to its caller.

    Attributes:
        folder: the results.
        report: their page.
        status: how far the study is.
        notes: doubts about the study, a line each.
    """

    folder: Location
    report: Location
    status: Status
    notes: tuple[str, ...] = ()


def run(
    study: Study | str | Path,
    out: Location | None = None,
    *,
    executor: str = "ray",
    address: str | None = None,
    resources: Resources | None = None,
    pack_size: int | None = None,
    path: str = "auto",
    safeguards: Safeguards | None = None,
) -> RunSummary:
    """Train the cells of a study that its store does not have yet, and write the page.

    Args:
        study: a study, or the path of a study file.
        out: results folder or `s3://…`, `gs://…`; `results/<study name>` when None.
        executor: `ray` (Ray Tune, one trial a pack) or `inline` (this process).
        address: of a running Ray cluster; None starts one on this machine.
        resources: what a pack may use.
        pack_size: most cells in a pack, measured when None.
        path: `plain` trains one by one; `fused` together; `auto` as a measurement finds faster.
            Like `pack_size` only for cells that no earlier run has planned; a note says so.
        safeguards: how faults are met.

    Raises:
        InputError: the study or an argument breaks a rule, or its model or data cannot make a
            first step; nothing has been written then.
        StoppedError: the run could not go on; what was finished before is kept.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what was finished before is kept.
    """
    study = study if isinstance(study, Study) else read_study(study, out)
    resources, safeguards = resources or Resources(), safeguards or Safeguards()
    _check(executor, address, resources, pack_size)
    _check_safeguards(safeguards)
    wish = check_path(path)
    resolve_device(resources.device)
    forget_examples()
    check_study(study)
    check_data_again(study)
    train_size = training_examples(study)
    store = store_of_study(study.name, out)
    cells = expand(study, train_size)
    missing = _missing(store, cells)
    doubts = notes(study, cells, train_size)
    for line in explain_changes(store, study, cells):
        click.echo(line, err=True)
    if missing:
        fetch_data(study)
    with _stopping_at_faults(store), Interrupts() as interrupts:
        if missing:
            means = Means(study, store, resources, safeguards, interrupts, address)
            with open_executor(executor, means) as opened:
                planned = store.planned()
                fresh = [cell for cell in missing if cell.cell_id not in planned]
                arranged = opened.arrange(fresh, pack_size, wish) if fresh else ()
                store.begin(study, train_size)
                store.write_run(provenance(executor, resources, study))
                kept = store.plan([cell for cell in missing if cell.cell_id in planned], ())
                packs = store.plan(missing, arranged)
                doubts = (*doubts, *notes_on_plan(study, kept, pack_size, wish))
                with CellProgress(study.name, store.status(cells), len(missing)) as progress:
                    for pack in packs:
                        opened.submit(pack)
                    for _ in opened.finished(progress.show):
                        pass
        changed = bool(missing) or not store.holds(study)
        if changed and not missing:
            store.begin(study, train_size)
            store.write_run(provenance(executor, resources, study))
        store.sweep()
        if store.part_count() > COMPACT_ABOVE:
            store.compact()
        page = _write_report(store, anew=changed)
        return RunSummary(store.folder, page, store.status(cells), doubts)


@contextmanager
def _stopping_at_faults(store: Store) -> Iterator[None]:
    """End the run with one line where a disk is full or a folder is not writable.

    Any other fault of the machine ends it too, with a line that names that fault.
    """
    try:
        yield
    except OSError as error:
        if came_through(error, "hdsens.store"):
            raise unwritable(store, error) from error
        raise StoppedError(
            f"the run met {describe(error)}: not in its results, which are kept; set it right, and "
            "the same command again goes on from here"
        ) from error


def _write_report(store: Store, *, anew: bool) -> Location:
    """Write the page, unless it is newer than all results, and return its location.

    A run that changed something asks no clock: that may have been set back.
    """
    if not anew and store.page_is_current():
        return store.page
    from hdsens.report import render  # workers import this package and draw nothing

    return store.write_page(render([read_results(store.folder)]))


def _set_aside(store: Store) -> None:
    """Rename damaged files, so that their cells train again."""
    if not store.exists() and not store.has_parts_or_plan():
        return
    for damage in store.damage():
        for name in store.set_aside(damage):
            _log.warning("%s", damage.error)
            _log.warning("set aside as %s", name)


def _missing(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """List the cells without a result: absent, failed, or in damaged files, which are set aside."""
    _set_aside(store)
    found = store.outcomes()
    return [cell for cell in cells if found.get(cell.cell_id, "failed") == "failed"]


def _check(executor: str, address: str | None, resources: Resources, pack_size: int | None) -> None:
    if executor not in EXECUTORS:
        raise InputError("--executor", f"must be {' or '.join(EXECUTORS)}", executor)
    if executor != "ray" and address is not None:
        raise InputError(
            "--address", "must go with --executor ray", address, "leave one of them out"
        )
    if resources.cpus_per_pack < 1:
        raise InputError("--cpus-per-pack", "must be >= 1", resources.cpus_per_pack)
    if resources.gpus_per_pack is not None and resources.gpus_per_pack < 0:
        raise InputError("--gpus-per-pack", "must be >= 0", resources.gpus_per_pack)
    if pack_size is not None and pack_size < 1:
        raise InputError("--pack-size", "must be >= 1", pack_size)


def _check_safeguards(safeguards: Safeguards) -> None:
    if safeguards.max_failures < 1:
        raise InputError("--max-failures", "must be >= 1", safeguards.max_failures)
    if not 0 <= safeguards.checkpoint_every_s < math.inf:
        raise InputError(
            "--checkpoint-every",
            "must be seconds >= 0",
            safeguards.checkpoint_every_s,
            "use 0 for none",
        )
