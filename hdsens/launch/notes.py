"""Notes on a study: things that no rule forbids but that its author may not have meant."""

from __future__ import annotations

from collections.abc import Sequence

from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.families import families_of_study
from hdsens.study.likeness import differences
from hdsens.study.optimizers import is_hd
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish
from hdsens.training.fused.fusable import obstacle


def notes(study: Study, cells: Sequence[Cell], train_size: int) -> tuple[str, ...]:
    """Write one line for each doubt about a study."""
    arms = {arm.name: arm for arm in study.arms}
    pairs = [(arm, arms[arm.baseline]) for arm in study.arms if arm.baseline is not None]
    alone = [study.arm(f.base) for f in families_of_study(study) if f.side(f.base) == "alone"]
    return (
        *_about_batches(cells, train_size),
        *(
            f"arm {arm.name}: {difference}"
            for arm, base in pairs
            for difference in differences(arm, base, dict(study.task))
        ),
        *(
            f"arm {arm.name!r} ({arm.optimizer}) names no baseline: no verdict compares it"
            for arm in alone
            if is_hd(arm.optimizer)
        ),
    )


def notes_on_plan(
    study: Study, kept: Sequence[Pack], pack_size: int | None, path: PathWish
) -> tuple[str, ...]:
    """Say where an earlier plan trains cells otherwise than `--path` and `--pack-size` ask.

    Args:
        study: the study that the packs are of.
        kept: packs of the earlier plan that train now.
        pack_size: most cells in a pack, if fixed.
        path: asked for.
    """
    other = [
        pack
        for pack in kept
        if len(pack.cells) > (pack_size or len(pack.cells))
        or (path == "plain" and pack.path == "fused")
        or (path == "fused" and pack.path == "plain" and _can_fuse(study, pack))
    ]
    if not other:
        return ()
    n_cells = sum(len(pack.cells) for pack in other)
    ways = " and ".join(sorted({pack.path for pack in other}))
    largest = max(len(pack.cells) for pack in other)
    return (
        f"{n_cells} cells train as planned at an earlier run ({ways}, packs of at most {largest}): "
        "--path and --pack-size arrange only what no plan holds; a new --out plans anew",
    )


def _can_fuse(study: Study, pack: Pack) -> bool:
    return all(obstacle(study.arm(c.arm), study.task, c.factors) is None for c in pack.cells)


def _about_batches(cells: Sequence[Cell], train_size: int) -> list[str]:
    sizes = sorted({cell.batch_size for cell in cells if cell.batch_size > train_size})
    return [
        f"batch_size {size} is more than the {train_size} training examples: each step uses all"
        for size in sizes
    ]
