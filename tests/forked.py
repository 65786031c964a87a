"""`hdsens` in processes of its own, forked from one that has imported torch: that takes seconds.

A process is a child of the tests as any other: the server forks twice, and the tests adopt what the
first fork leaves (Linux). Ray is imported anew in each, as it reads the environment then.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

from tests_support import short_page

IMPORTED = ("hdsens.launch", "hdsens.report", "torch._dynamo")
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
TESTS = Path(__file__).parent


class Process:
    """A running `hdsens`; of `subprocess.Popen` it has what the tests need.

    Args:
        arguments: of the command line.
        cwd: where it runs.
        env: its environment; None for that of the tests.
        own_session: whether signals to the group of the tests do not reach it.
        page: whether a run draws its page.
    """

    def __init__(
        self,
        *arguments: object,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        own_session: bool = False,
        page: bool = False,
    ) -> None:
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        order = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": dict(os.environ if env is None else env),
            "own_session": own_session,
            "page": page,
        }
        self.pid = _fork(order, [out_end, err_end])
        self.returncode: int | None = None
        os.close(out_end)
        os.close(err_end)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)

    def poll(self) -> int | None:
        """The exit status, minus the signal that ended it; None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end."""
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        """Send it, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; what it printed since it was last read."""
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.append(self.stderr.read()))
        reader.start()
        printed = self.stdout.read()
        reader.join()
        self.wait()
        self.stdout.close()
        self.stderr.close()
        return printed, told[0]

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def hdsens(*arguments: object, cwd: Path, **options: object) -> CompletedProcess[str]:
    """Run a command to its end."""
    process = Process(*arguments, cwd=cwd, **options)
    printed, told = process.communicate()
    return CompletedProcess(arguments, process.returncode, printed, told)


def environment(**more: str) -> dict[str, str]:
    """As a shell has it: a run in this process leaves the token of its cluster behind."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    return {**own, "PYTHONPATH": f"{TESTS / 'launch'}:{TESTS.parent}", **more}


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, "-c", f"from forked import serve; serve({theirs.fileno()})"],
            env=environment() | {"PYTHONPATH": f"{TESTS}:{TESTS / 'launch'}:{TESTS.parent}"},
            pass_fds=[theirs.fileno()],
        )
    return ours


def _fork(order: Mapping[str, object], files: list[int]) -> int:
    server = _server()
    prctl = ctypes.CDLL(None).prctl
    prctl(ADOPT_ORPHANS, 1)
    text = json.dumps(order).encode()
    socket.send_fds(server, [len(text).to_bytes(4)], files)
    server.sendall(text)
    pid = int.from_bytes(_receive(server, 4))
    prctl(ADOPT_ORPHANS, 0)
    return pid


def _receive(server: socket.socket, size: int) -> bytes:
    text = server.recv(size, socket.MSG_WAITALL)
    assert len(text) == size, "the server of processes has ended"
    return text


def serve(number: int) -> None:
    """Fork a process for each order, until the tests end."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # a collection would copy every page
    server = socket.socket(fileno=number)
    while True:
        size, files, _, _ = socket.recv_fds(server, 4, 2)
        if not size:
            return None
        order = json.loads(_receive(server, int.from_bytes(size)))
        read, write = os.pipe()
        if not (between := os.fork()):
            if child := os.fork():
                os.write(write, child.to_bytes(4))
                os._exit(0)
            server.close()
            return _become(order, files, (read, write))
        pid = os.read(read, 4)
        os.waitpid(between, 0)  # the child has the tests as its parent then
        for file in (*files, read, write):
            os.close(file)
        server.sendall(pid)


def _become(order: Mapping, files: list[int], others: tuple[int, int]) -> None:
    """Be a command that somebody typed."""
    for file, place in zip(files, (1, 2), strict=True):
        os.dup2(file, place)
    for file in (*files, *others):
        os.close(file)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 # for as long as the process lives
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 # likewise
    if order["own_session"]:
        os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.path[:1] = ["", *order["env"].get("PYTHONPATH", "").split(":")]
    sys.argv = ["hdsens", *order["arguments"]]
    import hdsens.report
    from hdsens.cli import main

    if not order["page"]:
        hdsens.report.render = short_page
    try:
        main()
    except SystemExit as end:
        _end(end.code)


def _end(status: object) -> None:
    """As the interpreter ends, but for taking torch apart, which takes a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status if isinstance(status, int) else status is not None)
