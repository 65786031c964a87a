"""Checks before ray is imported: whether a cluster answers, and its token."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

from hdsens.errors import InputError


def prepare(address: str | None) -> None:
    """Set up the token, and fail at once where nothing listens: Ray would try for half a minute.

    `ray start` turns token authentication on by itself, a driver does not; and ray reads its
    environment once, when it is imported: where somebody did that before us, authentication is left
    to Ray. A cluster of our own gets a token of its own, which only this process and its children
    have; RAY_AUTH_MODE=disabled is respected.

    Raises:
        InputError: nothing listens at `host:port`.
    """
    imported = "ray" in sys.modules
    if address is None:
        if imported:
            return
        if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"} & set(os.environ):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        return
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    if not imported and ("RAY_AUTH_TOKEN" in os.environ or token.is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            raise no_answer(address, error) from None


def no_answer(address: str | None, error: Exception) -> InputError:
    """Make the error for an address without a cluster; None stands for a cluster of our own."""
    reason = (str(error).strip() or "no reply").splitlines()[0]
    if address is None:
        return InputError("Ray", f"must start on this machine: {reason}", remedy=_remedy(error))
    return InputError(
        "--address",
        f"must be a Ray cluster that answers: {reason}",
        address,
        "start one with `ray start --head`, give its token if it has one, or leave it out",
    )


def _remedy(error: Exception) -> str:
    """Return the remedy. Ray keeps sockets and logs below TMPDIR, in paths that must be short."""
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return "set TMPDIR or RAY_TMPDIR to a short path that can be written, or --executor inline"
    return "try again, or --executor inline"
