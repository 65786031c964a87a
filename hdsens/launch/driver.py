"""From a study to a store that holds all its cells, and its page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hdsens.cells import Cell, expand
from hdsens.errors import InputError
from hdsens.launch.address import prepare
from hdsens.launch.inline import inline_executor
from hdsens.launch.notes import notes
from hdsens.launch.progress import CellProgress
from hdsens.launch.provenance import provenance
from hdsens.launch.resources import Executor, Resources
from hdsens.packs import Pack
from hdsens.store import Status, Store, read_results
from hdsens.study import Study
from hdsens.training.check import check_study, examples_to_train, fetch_data
from hdsens.training.choice import PathWish, check_path
from hdsens.training.environment import resolve_device
from hdsens.training.fusable import obstacle

EXECUTORS = ("ray", "inline")


@dataclass(frozen=True)
class RunSummary:
    """What a run leaves.

    Attributes:
        folder: the results.
        report: their page.
        status: how far the study is.
        notes: doubts about the study, a line each.
    """

    folder: Path
    report: Path
    status: Status
    notes: tuple[str, ...] = ()


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    *,
    executor: str = "ray",
    address: str | None = None,
    resources: Resources | None = None,
    pack_size: int | None = None,
    path: str = "plain",
) -> RunSummary:
    """Train the cells of a study that its store does not have yet, and write the page.

    Args:
        study: a study, or the path of a study file.
        out: results folder; `results/<study name>` when None.
        executor: `ray` (Ray Tune, one trial a pack) or `inline` (this process).
        address: of a running Ray cluster; None starts one on this machine.
        resources: what a pack may use.
        pack_size: most cells in a pack, measured when None.
        path: `plain` trains one by one; `fused` together; `auto` as a measurement finds faster.
            Like `pack_size` only for cells that no earlier run has planned; a note says so.

    Raises:
        InputError: the study or an argument breaks a rule; nothing has been written then.
    """
    study = study if isinstance(study, Study) else Study.from_toml(study)
    resources = resources or Resources()
    _check(executor, address, resources, pack_size)
    wish = check_path(path)
    resolve_device(resources.device)
    check_study(study)
    train_size = examples_to_train(study.task)
    store = Store(Path(out) if out is not None else Path("results") / study.name)
    cells = expand(study, train_size)
    missing = _missing(store, cells)
    doubts = notes(study, cells, train_size)
    if missing:
        fetch_data(study)
        with _open(executor, resources, address) as opened:
            store.begin(study, train_size)
            store.write_run(provenance(executor, resources))
            doubts = (*doubts, *_about_plan(store, study, missing, pack_size, wish))
            packs = _plan(store, study, missing, opened, pack_size, wish)
            with CellProgress(study.name, store.status(cells), len(missing)) as progress:
                opened.train(study, store, packs, progress)
    else:
        store.begin(study, train_size)
    report = store.folder / "report.html"
    if not report.exists() or report.stat().st_mtime < store.changed_at():
        _write_report(store, report)
    return RunSummary(store.folder, report, store.status(cells), doubts)


def _plan(
    store: Store,
    study: Study,
    cells: Sequence[Cell],
    executor: Executor,
    pack_size: int | None,
    path: PathWish,
) -> tuple[Pack, ...]:
    """Packs as planned at an earlier run; what that plan does not hold is arranged now."""
    planned = store.planned()
    fresh = [cell for cell in cells if cell.cell_id not in planned]
    return store.plan(cells, executor.arrange(study, fresh, pack_size, path) if fresh else ())


def _about_plan(
    store: Store, study: Study, cells: Sequence[Cell], pack_size: int | None, path: PathWish
) -> tuple[str, ...]:
    """Whether an earlier plan, which stands, trains some of these cells other than asked now."""
    planned = store.planned()
    kept = [
        pack
        for pack in store.plan([cell for cell in cells if cell.cell_id in planned], ())
        if len(pack.cells) > (pack_size or len(pack.cells))
        or (path == "plain" and pack.path == "fused")
        or (path == "fused" and pack.path == "plain" and _can_fuse(study, pack))
    ]
    if not kept:
        return ()
    n_cells = sum(len(pack.cells) for pack in kept)
    ways = " and ".join(sorted({pack.path for pack in kept}))
    largest = max(len(pack.cells) for pack in kept)
    return (
        f"{n_cells} cells train as planned at an earlier run ({ways}, packs of at most {largest}): "
        "--path and --pack-size arrange only what no plan holds; a new --out plans anew",
    )


def _can_fuse(study: Study, pack: Pack) -> bool:
    return all(obstacle(study.arm(c.arm), study.task, c.factors) is None for c in pack.cells)


def _write_report(store: Store, report: Path) -> None:
    from hdsens.report import write_report  # workers import this package and draw nothing

    write_report([read_results(store.folder)], report)


def _missing(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """Cells without a result; a failed cell is one of them."""
    if not store.exists():
        return list(cells)
    store.study()  # refuses a store of another version before anything is written
    found = store.outcomes()
    return [cell for cell in cells if found.get(cell.cell_id, "failed") == "failed"]


def _open(
    executor: str, resources: Resources, address: str | None
) -> AbstractContextManager[Executor]:
    if executor == "inline":
        return inline_executor(resources)
    if address is not None:
        prepare(address)
    from hdsens.launch.ray_tune import ray_executor  # seconds to import

    return ray_executor(resources, address)


def _check(executor: str, address: str | None, resources: Resources, pack_size: int | None) -> None:
    if executor not in EXECUTORS:
        raise InputError("--executor", "must be ray or inline", executor)
    if executor == "inline" and address is not None:
        raise InputError(
            "--address", "must go with --executor ray", address, "leave one of them out"
        )
    if resources.cpus_per_pack < 1:
        raise InputError("--cpus-per-pack", "must be >= 1", resources.cpus_per_pack)
    if resources.gpus_per_pack is not None and resources.gpus_per_pack < 0:
        raise InputError("--gpus-per-pack", "must be >= 0", resources.gpus_per_pack)
    if pack_size is not None and pack_size < 1:
        raise InputError("--pack-size", "must be >= 1", pack_size)
