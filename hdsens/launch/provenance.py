"""Where a run's numbers come from: code, packages, machine."""

from __future__ import annotations

import hashlib
import importlib.util
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
from hdsens.store.declared import declaration
from hdsens.study import Study

_PACKAGES = (
    *("numpy", "pandas", "pyarrow", "pydantic", "ray", "safetensors", "scikit-learn", "scipy"),
    "torch",
)


def provenance(executor: str, resources: Resources, study: Study) -> dict[str, Any]:
    """Collect a run's provenance: nothing secret, no user or host name.

    `declared` holds the protocol, seeds and arms as they were when the run began, `study` all of
    the study, `own_code` what the source of a person's own models, data and optimizers hashed to.
    """
    now = datetime.now(UTC)
    return {
        # Records are read in the order of their names; two short runs may share a second.
        "run_id": f"{now:%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:8]}",
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
        "own_code": own_code(study),
        "study": study.model_dump(mode="json"),
    }


def own_code(study: Study) -> dict[str, str]:
    """Hash (SHA-256) the source of each module that the study names, where it has one."""
    names = (
        study.task.model,
        study.task.data,
        study.task.loss,
        *(arm.optimizer for arm in study.arms),
    )
    modules = sorted({name.partition(":")[0] for name in names if ":" in name})
    found = {}
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            found[module] = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
    return found


def _git_state() -> str | None:
    """Return the commit of this package's checkout, marked when files differ; None if installed."""
    here = Path(__file__)
    tracked = _git(here, "ls-files", "--error-unmatch", here.name)  # not so in site-packages
    return None if tracked is None else _git(here, "describe", "--always", "--dirty")


def _git(here: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(here.parent), *arguments]
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
