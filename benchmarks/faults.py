"""Faults by the dozen over one study; the store must end with every cell once, bit for bit.

    python -m benchmarks.faults                  # 504 cells, 32 kills; about ten minutes
    python -m benchmarks.faults --kills 6 --seeds 2

Kills by SIGKILL of drivers, workers and raylets at random moments, Ctrl-C at ten moments, a full
disk, a read-only store, two drivers at once. What needs to mount a file system says so and is left
out where that is not allowed. The result is compared with an undisturbed run under the same plan.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ray
import torch

from hdsens import read_cells, read_traces
from hdsens.store import Store

STUDY = """
name = "faults"
seeds = {seeds}
task = {{ model = "logreg", data = "digits", steps = {steps}, weight_decay = 1e-4 }}
trace = {{ points = 10, evaluate = [0.5, 1.0] }}

[[arms]]
name = "sgd"
optimizer = "SGD"
lr = {{ zero = true, log10 = [-4, 0], per_decade = 1 }}

[[arms]]
name = "sgd_hd"
optimizer = "SGDHD"
baseline = "sgd"
lr = {{ zero = true, log10 = [-4, 0], per_decade = 1 }}
hypergrad_lr = [1e-4, 1e-2]
"""
CELLS_PER_SEED = 18
NOT_COMPARED = ["wall_s", "finished_at", "pack_size"]
PATIENCE_S = 300.0
PR_SET_PDEATHSIG = 1
"""Of Linux' prctl."""
KILLED = "a worker was killed"
"""What a driver that is fed prints on standard error for each one."""


@dataclass
class Campaign:
    """A study under faults, with what was injected and what went wrong.

    `left` counts checkpoints that a killed run left for the next one to go on from.
    """

    folder: Path
    rng: random.Random
    path: str
    checkpoint_every_s: float
    left: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: Counter[str] = field(default_factory=Counter)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self, executor: str, out: Path | None = None, study: str = "study.toml") -> Run:
        """A driver in a process of its own."""
        out = out or self.out
        command = ["-c", "from hdsens.cli import main; main()", "run", study, "--out", str(out)]
        command += ["--executor", executor, "--pack-size", "6", "--max-failures", "20"]
        command += ["--path", self.path, "--checkpoint-every", str(self.checkpoint_every_s)]
        return Run(self.folder, out, command)

    def note(self, run: Run, fault: str, allowed: tuple[int, ...]) -> str:
        """Wait for a run to end; it must, with one of the exit statuses and no traceback.

        What it printed on standard error comes back.
        """
        began = time.monotonic()
        status, err = run.end()
        self.slowest[fault] = max(self.slowest[fault], round(time.monotonic() - began))
        if status not in allowed or "Traceback" in err:
            self.wrong.append(f"{fault}: exit status {status}: {err[-800:]}")
        return err

    def kill(self, what: str) -> bool:
        """Kill something of a run once it trains; False where the study was done before."""
        run = self.start("inline" if what == "driver" and self.rng.random() < 0.5 else "ray")
        if not run.wait_for_progress():
            self.note(run, "none", (0,))
            return False
        time.sleep(self.rng.uniform(0, 3))
        while what == "worker":  # several in one run, a driver's start takes long
            if run.kill_worker(self.rng):
                self.faults["worker killed"] += 1
            if self.rng.random() < 0.12 or not run.lives():
                break
            time.sleep(self.rng.uniform(1, 6))
        what = "driver" if what == "worker" else what
        if run.lives() and run.kill(what):
            self.faults[f"{what} killed"] += 1
        self.note(run, f"{what} killed", (-signal.SIGKILL, 0, 1))
        self.left += len(checkpoints(self.out))
        return True


def _end_with_parent() -> None:
    """Have the kernel kill this process once the campaign that started it is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Run:
    """A driver in a process of its own: Python with these arguments, writing to `out`."""

    def __init__(self, folder: Path, out: Path, arguments: Sequence[str]) -> None:
        self._out, self._err = out, tempfile.TemporaryFile("w+")  # noqa: SIM115 # as the process lives
        env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        self._process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL,
            stderr=self._err, start_new_session=True, env=env, preexec_fn=_end_with_parent,
        )  # fmt: skip

    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self) -> tuple[int, str]:
        """Wait for the run; its exit status and standard error.

        A run that writes no part for `PATIENCE_S` is killed, and has the status 999: a slow machine
        is no fault.
        """
        parts, until = self._parts(), time.monotonic() + PATIENCE_S
        while self.lives():
            if self._parts() != parts:
                parts, until = self._parts(), time.monotonic() + PATIENCE_S
            if time.monotonic() > until:
                self._process.kill()
                self._process.wait()
                return 999, self._errors()
            time.sleep(0.1)
        return self._process.wait(), self._errors()

    def _errors(self) -> str:
        self._err.seek(0)
        return self._err.read()

    def wait_for_progress(self) -> bool:
        """Wait for a part that this run wrote; False where it ends before."""
        before = self._parts()
        while self._parts() == before:
            if not self.lives():
                return False
            time.sleep(0.05)
        return True

    def _parts(self) -> set[str]:
        return {path.name for path in (self._out / "parts").glob("cells-*")}

    def kill(self, what: str) -> bool:
        """SIGKILL the driver, or its raylet."""
        pids = [self._process.pid] if what == "driver" else [
            pid for pid, command in descendants(self._process.pid)
            if Path(command.split("\0")[0]).name == what
        ]  # fmt: skip
        return any(_signal(pid, signal.SIGKILL) for pid in pids)

    def kill_worker(self, rng: random.Random) -> bool:
        """SIGKILL one of the processes that train."""
        return kill_worker(self._process.pid, rng)

    def interrupt(self) -> None:
        _signal(self._process.pid, signal.SIGINT)


def kill_worker(driver: int, rng: random.Random) -> bool:
    """SIGKILL one of the processes that train for a driver; False where none does."""
    workers = [
        pid
        for pid, command in descendants(driver)
        if command.startswith("ray::") and "Trainable" in command
    ]
    return bool(workers) and _signal(rng.choice(workers), signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> list[tuple[int, str]]:
    """Processes under one, with their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_text()
            except OSError:  # it has ended
                continue
            if parent == pid:
                found += [(int(entry.name), command), *descendants(int(entry.name))]
    return found


def kills(campaign: Campaign, wanted: int) -> None:
    """SIGKILL on drivers, workers and raylets until there were as many as wanted."""
    kinds = itertools.cycle(["worker", "raylet", "driver", "driver"])
    while sum(campaign.faults.values()) < wanted:
        if not campaign.kill(next(kinds)):
            print(f"the study was done after {sum(campaign.faults.values())} kills")
            return


def interrupts(campaign: Campaign, moments: int) -> None:
    """Ctrl-C at moments from three seconds after the start of a run on."""
    for i in range(moments):
        run = campaign.start(
            "ray" if i % 2 else "inline", campaign.folder / "interrupted", "few.toml"
        )
        time.sleep(3 + i * campaign.rng.uniform(0.5, 1.5))
        run.interrupt()
        campaign.faults["Ctrl-C"] += 1
        campaign.note(run, "Ctrl-C", (0, 1, -signal.SIGINT))
    campaign.note(
        campaign.start("inline", campaign.folder / "interrupted", "few.toml"), "after", (0,)
    )


def two_drivers(campaign: Campaign) -> None:
    """Two runs on one store; and two of which one is killed."""
    for i, executors in enumerate((("inline", "ray"), ("inline", "inline"))):
        out = campaign.folder / f"two{i}"
        runs = [campaign.start(executor, out, "few.toml") for executor in executors]
        campaign.faults["two drivers"] += 1
        if i == 1 and runs[0].wait_for_progress():
            runs[0].kill("driver")
            campaign.faults["driver killed beside another"] += 1
        for run in runs:
            campaign.note(run, "two drivers", (0, -signal.SIGKILL))


def full_disk(campaign: Campaign) -> None:
    """A tmpfs with room for a part of the results, then for all."""
    disk = campaign.folder / "disk"
    if not mounted(["-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], disk):
        print("full disk: left out, because this user may not mount a tmpfs")
        return
    try:
        for executor in ("ray", "inline"):
            campaign.note(campaign.start(executor, disk / "out", "few.toml"), "disk full", (1,))
            campaign.faults["disk full"] += 1
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        campaign.note(
            campaign.start("inline", disk / "out", "few.toml"), "disk full, room made", (0,)
        )
        shutil.copytree(disk / "out", campaign.folder / "was_full")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def read_only(campaign: Campaign) -> None:
    """A bind mount that refuses writes, as permissions do not stop root."""
    out = campaign.folder / "was_full"
    if not out.exists() or not mounted(["--bind", str(out), str(out)], out):
        print("read-only store: left out, because this user may not mount a folder")
        return
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(out)], check=True)
        run = campaign.start("inline", out, "study.toml")
        campaign.faults["store read-only"] += 1
        campaign.note(run, "store read-only", (1, 2))
    finally:
        subprocess.run(["umount", str(out)], check=True)


def fed(campaign: Campaign, packs: int) -> tuple[int, int, int]:
    """Packs submitted one by one while workers are killed, and the driver once; as `compare`."""
    out, alone = (campaign.folder / name for name in ("fed", "alone-fed"))

    def start(executor: str, out: Path) -> Run:
        command = ["-m", "benchmarks.launch", "--feed", str(out), "--packs", str(packs)]
        more = [] if executor == "inline" else ["--kill-every", "7"]
        return Run(Path.cwd(), out, [*command, "--executor", executor, *more])

    run = start("ray", out)
    if run.wait_for_progress() and run.kill("driver"):
        campaign.faults["feeding driver killed"] += 1
    campaign.note(run, "feeding driver killed", (-signal.SIGKILL, 0))
    err = campaign.note(start("ray", out), "workers killed while fed", (0,))
    campaign.faults["workers killed while fed"] += err.count(KILLED)
    campaign.note(start("inline", alone), "undisturbed", (0,))
    cells, whole = (read_cells(folder, all=True) for folder in (out, alone))
    ids = [frame["cell_id"] for frame in (cells, whole)]
    columns = cells.columns.difference(NOT_COMPARED)
    if not cells[columns].equals(whole[columns]):
        campaign.wrong.append("fed: cells differ from those of an undisturbed feed")
    return packs, len(set(ids[1]) - set(ids[0])), len(ids[0]) - ids[0].nunique()


def mounted(arguments: list[str], folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def checkpoints(out: Path) -> list[Path]:
    return list((out / "checkpoints").glob("[0-9a-f]*"))


def compare(campaign: Campaign, out: Path, study: str) -> tuple[int, int, int]:
    """Cells expected, lost and doubled; what differs from an undisturbed run is noted."""
    store, alone = Store(out), campaign.folder / f"alone-{out.name}"
    (alone / "parts").mkdir(parents=True)
    shutil.copytree(out / "plan", alone / "plan")
    campaign.note(campaign.start("inline", alone, study), "undisturbed", (0,))
    expected = {cell.cell_id for cell in store.expected()}
    cells, whole = (read_cells(folder) for folder in (out, alone))
    results = cells[cells["outcome"] != "failed"]
    for name, one, other in (
        ("cells", cells.drop(columns=NOT_COMPARED), whole.drop(columns=NOT_COMPARED)),
        ("traces", read_traces(out), read_traces(alone)),
    ):
        if not one.equals(other):
            campaign.wrong.append(f"{out.name}: {name} differ from those of an undisturbed run")
    if store.damage() or checkpoints(out):
        campaign.wrong.append(f"{out.name}: damaged files, or checkpoints of done packs")
    doubled = len(results) - results["cell_id"].nunique()
    return len(expected), len(expected - set(results["cell_id"])), doubled


def campaign(folder: Path, asked: argparse.Namespace) -> bool:
    """Inject everything, compare, print; whether all is well."""
    began = time.monotonic()
    (folder / "study.toml").write_text(STUDY.format(seeds=asked.seeds, steps=asked.steps))
    (folder / "few.toml").write_text(STUDY.format(seeds=2, steps=asked.steps))
    run = Campaign(folder, random.Random(asked.seed), asked.path, asked.checkpoint_every)
    parts: list[Callable[[], None]] = [lambda: kills(run, asked.kills)]
    if asked.moments:
        parts += [
            lambda: interrupts(run, asked.moments),
            lambda: two_drivers(run),
            lambda: full_disk(run),
            lambda: read_only(run),
        ]
    for part in parts:
        part()
        print(f"{time.monotonic() - began:5.0f} s: {dict(run.faults)}", flush=True)
    run.note(run.start("inline"), "the last run", (0,))
    stores = [(run.out, "study.toml")] + [
        (folder / name, "few.toml")
        for name in ("interrupted", "two0", "two1", "was_full")
        if (folder / name).exists()
    ]
    counts = [(out.name, *compare(run, out, study)) for out, study in stores]
    if asked.fed:
        counts.append(("fed", *fed(run, asked.fed)))
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, ", end="")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, ray {ray.__version__}")
    print(f"{asked.seeds * CELLS_PER_SEED} cells, path {asked.path}, seed {asked.seed}", end=", ")
    print(f"{time.monotonic() - began:.0f} s\n")
    print("| fault | injected | longest time to end |\n|---|---|---|")
    for fault, count in run.faults.items():
        print(f"| {fault} | {count} | {run.slowest.get(fault, 0)} s |")
    print("\n| store | cells expected | lost | doubled |\n|---|---|---|---|")
    for name, expected, lost, doubled in counts:
        print(f"| {name} | {expected} | {lost} | {doubled} |")
    lost, doubled = (sum(row[i] for row in counts) for i in (2, 3))
    print(
        f"\nfaults injected {sum(run.faults.values())}, cells lost {lost}, doubled {doubled}, ",
        end="",
    )
    print(f"other things wrong {len(run.wrong)}")
    print(f"checkpoints left by kills, for the next run to go on from: {run.left}")
    print("\n".join(run.wrong))
    return not (run.wrong or lost or doubled)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=28, help=f"times {CELLS_PER_SEED} cells")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--moments", type=int, default=10, help="of Ctrl-C; 0: only kills")
    parser.add_argument("--fed", type=int, default=200, help="packs fed one by one; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", default="plain", help="plain or fused")
    parser.add_argument("--checkpoint-every", type=float, default=1.0, help="seconds")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hdsens-faults-") as folder:
        well = campaign(Path(folder), asked)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
