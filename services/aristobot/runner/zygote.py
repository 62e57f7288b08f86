"""The zygote: `python -I -m aristobot.runner.zygote CHANNEL`, which forks a process per strategy.

It imports pandas and the indicators once, so that a strategy's process starts in milliseconds and
shares that memory. It is started with an empty environment, holds no secret and runs no user's
code; every child seals itself before it does (`sealed_child`). Its one conversation is with its
host (`sealed`): `spawn` comes with a child's end of a socket pair, answered by the child's pid and
a descriptor of the process (pidfd), so that the host signals the right process and no later one of
the same number. The end of each child is told. It has one thread, because only that forks safely.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import warnings
from typing import Any

from aristobot.core.strategy_code import ALLOWED_IMPORTS
from aristobot.platform.sandbox.limits import die_with_parent
from aristobot.platform.sandbox.python_files import readable_paths
from aristobot.runner import sealed_child
from aristobot.runner.candle_window import CandleWindow

_LARGEST_MESSAGE = 64 * 1024
#: How often ended children are looked for where there are no pidfds.
_POLL_SECONDS = 0.1
#: Python rewrites its byte code in place where it is used often; better here than in each child.
_REHEARSALS = 20
_HAS_PIDFD = hasattr(os, "pidfd_open")


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    unsealed = sys.argv[3] == "unsealed"
    _import_all()
    _rehearse()
    gc.collect()
    gc.freeze()
    _Zygote(channel, unsealed=unsealed).run()


def _import_all() -> None:
    """Load what strategies use, so that they share it, and needn't open files for it."""
    for name in sorted(ALLOWED_IMPORTS - {"pandas_ta"}):
        importlib.import_module(name)
    indicators = importlib.import_module("pandas_ta_classic")
    sys.modules["pandas_ta"] = indicators
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(indicators.__path__, indicators.__name__ + "."):
            importlib.import_module(module.name)
    # `candles.ta.strategy()` would make a process per processor, which a sealed one may not.
    indicators.AnalysisIndicators._cores = 0


def _rehearse() -> None:
    """Use it once as a strategy would, so that what the first use makes is made once for all."""
    window = CandleWindow()
    window.fill([(60_000 * place, 2.0, 3.0, 1.0, 2.0, 1.0) for place in range(50)], 50)
    indicators = importlib.import_module("pandas_ta")
    for _ in range(_REHEARSALS):
        candles = window.frame()
        candles["average"] = indicators.ema(candles["close"], length=10)
        bool(candles["average"].iloc[-1] > candles["close"].iloc[-2])


class _Zygote:
    def __init__(self, channel: socket.socket, *, unsealed: bool) -> None:
        self._channel = channel
        self._unsealed = unsealed
        self._readable = readable_paths()
        self._children: dict[int, int | None] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the host is gone."""
        self._say({"id": 0, "threads": threading.active_count()})
        while True:
            events = self._selector.select(None if _HAS_PIDFD else _POLL_SECONDS)
            if not _HAS_PIDFD or any(key.fileobj is not self._channel for key, _ in events):
                self._bury()
            if any(key.fileobj is self._channel for key, _ in events) and not self._hear():
                return

    def _say(self, content: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        socket.send_fds(self._channel, [json.dumps(content).encode() + b"\n"], descriptors)

    def _hear(self) -> bool:
        """Take one request; whether the host is still there."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, _LARGEST_MESSAGE, 1)
        if not data:
            return False
        request = json.loads(data)
        passed: tuple[int, ...] = ()
        try:
            if not descriptors:  # what the kernel leaves out of a message when there is no room
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            pid, process = self._fork(descriptors[0], request["memory_bytes"])
            passed = () if process is None else (process,)
            answer: dict[str, Any] = {"spawned": pid, "descriptors": len(passed)}
        except OSError as error:  # too many files or processes, no memory: the others live on
            answer = {"refused": str(error)}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._say({"id": request["id"], **answer}, passed)
        return True

    def _fork(self, child_end: int, memory_bytes: int) -> tuple[int, int | None]:
        """A sealed child: its pid and pidfd."""
        pid = os.fork()
        if pid == 0:
            sealed_child.run(
                child_end,
                readable=self._readable,
                zygote=os.getppid(),
                memory_bytes=memory_bytes,
                unsealed=self._unsealed,
            )
        try:
            process = os.pidfd_open(pid) if _HAS_PIDFD else None
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._children[pid] = process
        if process is not None:
            self._selector.register(process, selectors.EVENT_READ)
        return pid, process

    def _bury(self) -> None:
        """Tell the host of every child that has ended."""
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            process = self._children.pop(pid)
            if process is not None:
                self._selector.unregister(process)
                os.close(process)
            code = os.waitstatus_to_exitcode(status)
            self._say({"ended": pid, "exit_code": code, "max_rss_kib": usage.ru_maxrss})


if __name__ == "__main__":
    main()
