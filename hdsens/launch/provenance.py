"""Where a run's numbers come from: code, packages, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hdsens
from hdsens.launch.resources import Resources
from hdsens.store.history import declaration
from hdsens.study import Study

_PACKAGES = ("numpy", "pandas", "pyarrow", "ray", "scikit-learn", "scipy", "torch")


def provenance(executor: str, resources: Resources, study: Study) -> dict[str, Any]:
    """What is kept of a run beside its results; nothing secret, no user or host name.

    `declared` holds the protocol, seeds and arms as they were when the run began.
    """
    now = datetime.now(UTC)
    return {
        "run_id": f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        "started_at": now.isoformat(timespec="milliseconds"),
        "hdsens_version": hdsens.__version__,
        "git": _git_state(),
        "python": platform.python_version(),
        **{f"{name.replace('-', '_')}_version": version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "n_cpus": os.cpu_count(),
        "executor": executor,
        "device": resources.device,
        "cpus_per_pack": resources.cpus_per_pack,
        "gpus_per_pack": resources.gpus_per_pack,
        "declared": declaration(study),
    }


def _git_state() -> str | None:
    """Commit of this package's own checkout, marked when files differ; None when installed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
