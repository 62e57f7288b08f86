"""A container's first process: runs one program and turns the signals that end it into another.

Kubernetes stops a container by SIGTERM, on which PostgreSQL would wait until its last client has
left; SIGINT makes it leave at once and in order. As the first process it also takes in what others
have left behind. Run as a program of its own like `local.launch`, with the standard library alone:
it stays for as long as the server, and so costs 9 MB instead of 40.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def command(argv: tuple[str, ...], *, stop_signal: signal.Signals) -> tuple[str, ...]:
    """The command line that runs `argv` through this program; it begins with an absolute path."""
    return (
        sys.executable,
        *("-I", "-S", __file__, "--stop-signal", str(int(stop_signal)), "--", *argv),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="foreground")
    parser.add_argument("--stop-signal", type=int, required=True)
    parser.add_argument("argv", nargs="+")
    options = parser.parse_args()
    child: subprocess.Popen[bytes] | None = None
    is_stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True
        if child is not None:
            child.send_signal(options.stop_signal)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    # Whoever became this program held them back until somebody would listen.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    # The lock on the data folder is an open file: the server keeps it too.
    child = subprocess.Popen(options.argv, close_fds=False)
    if is_stopping:
        child.send_signal(options.stop_signal)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
