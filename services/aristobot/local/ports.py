"""Checks, before anything is started, that the embedded platform's ports are free.

A part that finds its port taken would only die and be restarted again and again; the user is told
here instead, in one line. A port may still be taken between this check and the part's start: then
the part's log says so.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Mapping

import psutil

from aristobot.core.errors import Misconfigured

_LAST_PORT = 65_535
_CONNECT_TIMEOUT_SECONDS = 0.5


def check_free(ports: Mapping[str, int], *, host: str = "127.0.0.1") -> None:
    """Raise `Misconfigured`, naming port, part and holder, unless all `ports` can be listened on.

    `ports` maps the name of a part to its TCP port; `host` is the address they will listen on.
    """
    problems = [
        problem
        for part, port in ports.items()
        if (problem := _problem(part, port, host)) is not None
    ]
    if problems:
        raise Misconfigured(f"{'; '.join(problems)}: choose other ports with --port-base")


def _problem(part: str, port: int, host: str) -> str | None:
    if not 0 < port <= _LAST_PORT:
        return f"port {port} (for {part}) does not exist"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # Connections of an earlier run may linger in TIME_WAIT; they are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _taken(part, port)
            return f"port {port} (for {part}) can't be used: {error.strerror}"
    # Some systems let one bind beside a listener on another address of the same machine.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECT_TIMEOUT_SECONDS)
        if client.connect_ex(("127.0.0.1", port)) == 0:
            return _taken(part, port)
    return None


def _taken(part: str, port: int) -> str:
    holder = _holder(port)
    return f"port {port} (for {part}) is taken" + (f" by {holder}" if holder else "")


def _holder(port: int) -> str | None:
    """Name and pid of the process that listens on `port`, if the system tells."""
    # macOS shows other users' sockets to root alone, and a process may end while we look.
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None
