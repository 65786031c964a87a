"""The Ray cluster that a run uses: one of its own, or the one at an address."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Read when ray is imported. No usage report leaves the machine.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.job_config import JobConfig

from hdsens.errors import InputError
from hdsens.launch.ray.address import no_answer
from hdsens.launch.ray.quiet import without_rays_words
from hdsens.launch.resources import Resources

LOOK_EVERY_S = 0.25
"""Three looks are over before Ray says that actors died and Tune starts others: at its first write
to an object store that is gone, Ray would end this process without a word."""
MISSES = 3
"""Looks in a row without an answer after which a cluster is gone."""
GRACE_S = 2.0
"""For the main thread to notice it too, before Ray ends this process without a word."""


@contextmanager
def open_cluster(address: str | None) -> Iterator[Watch]:
    """Connect to the cluster at the address, to an open session, or to a new local cluster."""
    if ray.is_initialized():
        with without_rays_words(), Watch() as watch:
            yield watch
        return
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # So marked, Ray does not put the working folder first on its workers' path, where a
            # file called like a module of Python would take that one's place: it comes last.
            job_config=JobConfig(_client_job=True),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise no_answer(address, error) from None
    with without_rays_words():
        watch = Watch()
        try:
            with watch:
                yield watch
        finally:
            if not watch.look():  # Ray would end this process before it could say why
                ray.shutdown()


def reservation(resources: Resources) -> dict[str, float]:
    """Return the resources that Ray reserves for a pack.

    Raises:
        InputError: no node has as much, so that the run would wait for ever.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # ray's
    nodes = [node["Resources"] for node in alive]
    gpus = resources.gpus_per_pack
    if gpus is None:
        gpus = float(resources.device != "cpu" and any(node.get("GPU", 0) for node in nodes))
    wanted = {"CPU": float(resources.cpus_per_pack), "GPU": gpus}
    if not any(all(node.get(k, 0) >= n for k, n in wanted.items()) for node in nodes):
        raise InputError(
            "--cpus-per-pack, --gpus-per-pack",
            "must fit on one node of the cluster",
            wanted,
            "ask for less, or join a larger node",
        )
    return {"cpu": wanted["CPU"], "gpu": wanted["GPU"]}


GONE = (
    "the Ray cluster is gone (a process of it was killed, or its machine is down); what is "
    "finished is kept, and the same command again goes on from here"
)


class Watch:
    """Notices that the cluster is gone; Tune would wait for it for ever.

    `gone` becomes true when its control store or the driver's own node no longer answers. Ray ends
    this process without a word some ten seconds after; where the main thread hangs in a call to
    Ray, this does it with one.
    """

    def __init__(self) -> None:
        self.gone = False
        self._over = threading.Event()
        context = ray.get_runtime_context()
        nodes = ray.nodes()  # type: ignore[no-untyped-call] # ray's
        own = [n for n in nodes if n["NodeID"] == context.get_node_id()]
        places = [f"{n['NodeManagerAddress']}:{n['NodeManagerPort']}" for n in own]
        self._places = [p for p in (context.gcs_address, *places) if _listens(p)]

    def __enter__(self) -> Watch:
        threading.Thread(target=self._keep_looking, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def look(self) -> bool:
        """Ask the cluster once; whether it is gone."""
        return self.gone or not all(map(_listens, self._places))

    def _keep_looking(self) -> None:
        misses = 0
        while not self._over.wait(LOOK_EVERY_S) and not self.gone:
            misses = misses + 1 if self.look() else 0
            self.gone = misses >= MISSES
        if self.gone and not self._over.wait(GRACE_S):
            os.write(2, f"\nhdsens: {GONE}\n".encode())
            os._exit(1)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
