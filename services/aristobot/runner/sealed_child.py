"""The sealed process: seals itself, then answers its host until the conversation ends.

Flow: `zygote` forks it, it puts up the walls, and from then on a stranger's code may run in it. It
knows no broker, no bus and no secret; one descriptor leads to its host. Nothing it answers is
trusted (`answers`): the code in here may have changed anything, this module included. Requests are
`load` (code), `warm` (candles) and `decide` (a candle and a context); a failure is an answer too.
Deliberately not here: deadlines, which the host keeps.
"""

from __future__ import annotations

import builtins
import linecache
import os
import sys
import types
from typing import Any, NoReturn

from aristobot.core.errors import AristobotError
from aristobot.core.strategy_code import judge
from aristobot.platform.sandbox.limits import Limits
from aristobot.platform.sandbox.seal import seal
from aristobot.runner import strategy_api
from aristobot.runner.candle_window import CandleWindow
from aristobot.runner.framing import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    Closed,
    read_blocking,
    write_blocking,
)
from aristobot.runner.user_output import UserOutput
from aristobot.runner.user_values import BadReturnValue, plain_level, plain_size, yes_or_no

#: Where the child's end of the conversation is, after the fork.
CHANNEL = 3
#: The name of the user's file in tracebacks.
FILE_NAME = "strategy.py"
_MODULE_NAME = "strategy"


class Failed(Exception):
    """A request can't be answered; `code` is one CamelCase word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def run(
    channel: int, *, readable: tuple[str, ...], zygote: int, memory_bytes: int, unsealed: bool
) -> NoReturn:
    """Be the child, from right after the fork to the end. Never returns."""
    code = 1
    try:
        _own_descriptors(channel)
        if _is_sealed(readable, zygote, memory_bytes, unsealed):
            _serve(_Child())
    except Closed:
        code = 0
    finally:
        # Never back into the zygote's code, whatever was raised.
        os._exit(code)


def _own_descriptors(channel: int) -> None:
    """Nothing on the standard descriptors, and the channel where the child looks for it."""
    os.dup2(channel, CHANNEL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _is_sealed(readable: tuple[str, ...], zygote: int, memory_bytes: int, unsealed: bool) -> bool:
    try:
        seal(
            Limits(memory_bytes),
            keep={0, 1, 2, CHANNEL},
            readable=readable,
            parent_pid=zygote,
            allow_unsealed=unsealed,
        )
    except (OSError, ValueError, RuntimeError, AristobotError) as error:
        failure = {"code": "NotSealed", "message": f"the process can't be sealed: {error}"}
        write_blocking(CHANNEL, {"id": 0, "failed": failure}, MAX_ANSWER_BYTES)
        return False
    return True


def _serve(child: _Child) -> None:
    while True:
        request = read_blocking(CHANNEL, MAX_REQUEST_BYTES)
        answer = child.answer(request)
        write_blocking(CHANNEL, {"id": request["id"], **answer}, MAX_ANSWER_BYTES)


class _Child:
    """What the process knows: one strategy's class, and its candles."""

    def __init__(self) -> None:
        self._output = UserOutput()
        sys.stdout = sys.stderr = self._output  # type: ignore[assignment]
        self._window = CandleWindow()
        self._strategy: type | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any]
        try:
            answer = {"done": self._do(request)}
        except BaseException as error:  # noqa: BLE001 - SystemExit and all that user code may raise
            answer = {"failed": _failure(error)}
        return {**answer, "printed": self._output.take()}

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["ask"]:
            case "load":
                return self._load(request["code"])
            case "warm":
                self._window.fill(request["candles"], request["length"])
                return {"candles": len(self._window)}
            case "decide":
                if request["candle"] is not None:
                    self._window.add(request["candle"])
                return self._decide(request)
        raise Failed("BadRequest", f"unknown request {request['ask']}")

    def _load(self, code: str) -> dict[str, Any]:
        judged = judge(code)
        if judged.problems or judged.class_name is None:
            problems = [
                {"code": p.code, "message": p.message, "line": p.line, "column": p.column}
                for p in judged.problems
            ]
            return {"class_name": None, "problems": problems}
        linecache.cache[FILE_NAME] = (len(code), None, code.splitlines(True), FILE_NAME)
        module = types.ModuleType(_MODULE_NAME)
        module.__dict__.update(strategy_api.GIVEN)
        module.__dict__["__builtins__"] = builtins
        sys.modules[_MODULE_NAME] = module
        exec(compile(code, FILE_NAME, "exec", dont_inherit=True), module.__dict__)
        found = getattr(module, judged.class_name, None)
        if not (isinstance(found, type) and issubclass(found, strategy_api.Strategy)):
            raise Failed(
                "NoStrategyClass", f"{judged.class_name} is no class deriving from Strategy"
            )
        self._strategy = found
        return {"class_name": judged.class_name, "problems": []}

    def _decide(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._strategy is None:
            raise Failed("BadRequest", "no strategy is loaded")
        position = request["position"] and strategy_api.Position(**request["position"])
        strategy = self._strategy(self._window.frame(), float(request["balance"]), position)
        if position is not None:
            sells = yes_or_no(strategy.should_short(), "should_short")
            if not request["everything"]:
                return {"action": "sell" if sells else "none"}
            yes_or_no(strategy.should_long(), "should_long")
        buys = yes_or_no(strategy.should_long(), "should_long")
        if request["everything"]:
            yes_or_no(strategy.should_short(), "should_short")
        elif not buys:
            return {"action": "none"}
        return {
            "action": "buy" if buys and position is None else "none",
            "size": plain_size(strategy.calculate_position_size()),
            "stop": plain_level(strategy.calculate_stop_loss(), "calculate_stop_loss"),
            "target": plain_level(strategy.calculate_take_profit(), "calculate_take_profit"),
        }


def _failure(error: BaseException) -> dict[str, Any]:
    """The error as its author should read it: the line of their own code, and no path of ours."""
    line = _line_in_strategy(error)
    if isinstance(error, Failed):
        return {"code": error.code, "message": error.message, "line": line}
    if isinstance(error, BadReturnValue):
        return {"code": "BadReturnValue", "message": str(error), "line": line}
    code = "Exception"
    if isinstance(error, MemoryError):
        code = "OutOfMemory"
    elif isinstance(error, PermissionError) or _is_refused_thread(error):
        code = "ForbiddenCall"
    try:
        text = _without_paths(str(error))[:2000]
    except Exception:  # noqa: BLE001 - the text of a user's own exception is their code, too
        text = ""
    name = type(error).__name__[:200]
    return {"code": code, "message": f"{name}: {text}" if text else name, "line": line}


def _is_refused_thread(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def _line_in_strategy(error: BaseException) -> int | None:
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _without_paths(text: str) -> str:
    for folder in {sys.prefix, sys.base_prefix}:
        text = text.replace(folder + "/", "")
    return text.encode("utf-8", "replace").decode()
