"""How much memory a pack may take, and whether it ran out."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on the CPU only its message says so."""
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def memory_budget(device: torch.device, threads: int) -> float:
    """Return the bytes that a pack may take: most of a free GPU, half of a CPU worker's share."""
    if device.type == "cuda":
        return 0.8 * float(torch.cuda.mem_get_info(device)[0])
    workers = max(1, (os.cpu_count() or 1) // threads)
    return 0.5 * _free_memory() / workers


def _free_memory() -> float:
    """Return the bytes that are free in this machine, or in this process's control group."""
    free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = 1024.0 * int(line.split()[1])
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0] != "max":
        free = min(free, float(limit[0]) - float(used[0]))
    return free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
