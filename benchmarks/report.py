"""The report of 1,000, 10,000 and 100,000 cells: size, seconds to write and to open, peak memory.

    python -m benchmarks.report
    python -m benchmarks.report --cells 1000

One task, 3 families, 10 seeds, lr = 0 and a grid of lr and hypergrad_lr as fine as the number of
cells asks for, 5% diverged, 60 recorded steps a cell. Each size runs in a process of its own, so
that its peak memory is its own. Opening is timed in Chromium where it and playwright are there.
"""

from __future__ import annotations

import argparse
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hdsens.report import write_report
from hdsens.store import Results
from hdsens.study import Study
from hdsens.study.cells import expand

GRIDS = {1_000: (6, 4), 10_000: (13, 23), 100_000: (40, 80)}
"""Cells, about -> nonzero levels of lr, levels of hypergrad_lr."""

N_SEEDS, N_POINTS, STEPS, TRAIN_SIZE = 10, 60, 5000, 1000
L0, BEST = 2.3, 0.3
TEXTS = ("task", "arm", "optimizer", "role", "outcome", "device", "dtype")


def study(n_cells: int) -> Study:
    n_lr, n_beta = GRIDS[n_cells]
    lr = [0.0, *(float(f"{v:.6g}") for v in np.geomspace(1e-6, 1, n_lr))]
    beta = [float(f"{v:.6g}") for v in np.geomspace(1e-8, 1e-1, n_beta)]
    arms = []
    for name in ("sgd", "sgdn", "adam"):
        kind = "Adam" if name == "adam" else "SGD"
        arms.append({"name": name, "optimizer": kind, "lr": lr})
        hd = {"name": f"{name}_hd", "optimizer": f"{kind}HD", "baseline": name}
        arms.append({**hd, "lr": lr, "hypergrad_lr": beta})
    task = {"model": "logreg", "steps": STEPS}
    return Study.from_dict({"name": "big", "seeds": N_SEEDS, "task": task, "arms": arms})


def results(declared: Study) -> Results:
    """Random but smooth losses: only size matters."""
    rng = np.random.default_rng(0)
    cells = expand(declared, TRAIN_SIZE)
    n = len(cells)
    lr = np.array([cell.factors["lr"] for cell in cells], dtype=float)
    beta = np.array([cell.factors.get("hypergrad_lr", np.nan) for cell in cells], dtype=float)
    distance = np.log10(np.maximum(lr, np.nan_to_num(beta) * 100) + 1e-9) + 1
    loss = BEST + (L0 - BEST) * (1 - np.exp(-(distance**2) / 8)) + rng.normal(0, 0.01, n)
    diverged = rng.random(n) < 0.05
    frame = pd.DataFrame(
        {
            "cell_id": [cell.cell_id for cell in cells],
            "study": declared.name,
            "task": declared.task.label,
            "arm": [cell.arm for cell in cells],
            "baseline": [declared.arm(cell.arm).baseline for cell in cells],
            "lr": lr,
            "hypergrad_lr": beta,
            "seed": [cell.seed for cell in cells],
            "role": "confirmatory",
            "outcome": np.where(diverged, "diverged", "completed"),
            "error": None,
            "diverged_step": np.where(diverged, 10.0, np.nan),
            "steps": STEPS,
            "steps_run": STEPS,
            "initial_loss": L0,
            **{
                name: np.where(diverged, np.nan, loss)
                for name in ("train_loss", "valid_loss", "best_valid_loss", "lr_final")
            },
            "wall_s": 0.05,
            "device": "cpu",
        }
    )
    frame.attrs = {"factors": ["lr", "hypergrad_lr"], "expected": n}
    return Results(Path("results/big"), declared, frame, traces(frame, rng), ())


def traces(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    steps = np.unique(np.geomspace(1, STEPS, N_POINTS).round().astype(np.int64))
    shape = (len(frame), len(steps))
    share = np.log(steps) / np.log(STEPS)
    end = frame["train_loss"].fillna(L0).to_numpy()[:, None]
    batch_loss = L0 + (end - L0) * share + rng.normal(0, 0.02, shape)
    lr = (
        frame["lr"].to_numpy()[:, None]
        + 0.01 * share * frame["hypergrad_lr"].notna().to_numpy()[:, None]
    )
    return pd.DataFrame(
        {
            "cell_id": np.repeat(frame["cell_id"].to_numpy(), len(steps)),
            "step": np.tile(steps, len(frame)),
            "epoch": np.tile(steps / 8, len(frame)),
            "lr": lr.ravel(),
            "batch_loss": batch_loss.ravel(),
        }
    )


def measure(n_cells: int, out: Path) -> str:
    """One row of the table; in a process of its own."""
    shown = results(study(n_cells))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    write_report([shown], out)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    megabytes = out.stat().st_size / 1e6
    opened = open_seconds(out)
    return (
        f"| {len(shown.cells):,} | {megabytes:.2f} MB | {seconds:.1f} s | {opened} |"
        f" {peak:.2f} GiB ({before:.2f} GiB before) |"
    )


def open_seconds(page_path: Path) -> str:
    """Until Chromium has loaded the page, run its script and painted; median of 5."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "not measured"
    if chromium is None:
        return "not measured"
    painted = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        taken = []
        for _ in range(5):
            page = browser.new_page()
            start = time.perf_counter()
            page.goto(page_path.as_uri(), wait_until="load")
            page.evaluate(painted)
            taken.append(time.perf_counter() - start)
            page.close()
        browser.close()
    return f"{np.median(taken):.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, choices=GRIDS, nargs="*", default=list(GRIDS))
    parser.add_argument("--one", type=int, choices=GRIDS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(chosen.one, Path(folder) / "report.html"), flush=True)
        return
    print(f"{platform.platform()}, Python {platform.python_version()}, pandas {pd.__version__}\n")
    print("| cells | size | written in | opened in | peak memory |")
    print("|---|---|---|---|---|", flush=True)
    for n_cells in chosen.cells:
        command = [sys.executable, "-m", "benchmarks.report", "--one", str(n_cells)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
