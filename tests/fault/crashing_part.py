"""Runs one part of the platform so that a test can kill or stop it at a chosen point, once.

`python crashing_part.py gateway --broker demo.demo` is `aristobot gateway --broker demo.demo`
with a strike at each of the points below. A point is armed by a file `<part>.<point>` in the folder
`CRASH_POINTS`; its content says what happens there: `kill` or `stop` (by SIGKILL or SIGSTOP to
itself, as the kernel would), or `break` for a connection that breaks. The file is removed first, so
it happens once and the part that is started again runs normally. The product knows nothing of this:
its methods are wrapped from here.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from nats.aio.msg import Msg

from aristobot.cli import main
from aristobot.core.orders import OrderStatus, OrderType
from aristobot.engine import handover, strategy_worker, webhook_worker
from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.port import OrderReport
from aristobot.gateway.order_book import OrderBook
from aristobot.gateway.outcomes import Outcomes
from aristobot.gateway.protection_book import ProtectionBook
from aristobot.gateway.transactions import Transactions
from aristobot.platform.bus import Bus

FOLDER = Path(os.environ["CRASH_POINTS"])
PART = os.environ["CRASH_PART"]
#: Requests whose caller was told that the connection broke.
_UNDER_WAY: set[asyncio.Future[Any]] = set()
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
#: Long enough for the tasks beside it to have done their part of the work.
_SETTLE_SECONDS = 0.4


def strike(point: str) -> None:
    """Do what is armed for this point, if anything is."""
    armed = FOLDER / f"{PART}.{point}"
    try:
        action = armed.read_text()
        armed.unlink()
    except FileNotFoundError:
        return
    if action == "break":
        raise httpx.ReadError("broken off by the test")
    os.kill(os.getpid(), _SIGNALS[action])


def wrap(
    owner: Any,
    name: str,
    *,
    before: str | None = None,
    after: str | None = None,
    only: Callable[..., bool] = lambda *_, **__: True,
    settle: bool = False,
    needs_result: bool = False,
) -> None:
    """Strike at `before` and `after` around the coroutine function `owner.name`.

    `needs_result`: at `after` only if the function returned something that is not empty.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = only(*args, **kwargs)
        if counts and before is not None:
            if settle and (FOLDER / f"{PART}.{before}").exists():
                await asyncio.sleep(_SETTLE_SECONDS)
            strike(before)
        result = await original(*args, **kwargs)
        if counts and after is not None and (result or not needs_result):
            strike(after)
        return result

    setattr(owner, name, wrapped)


def wrap_request_written() -> None:
    """Strike once an order's request has been handed to the network and not yet been answered."""
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def wrapped(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> Any:
        if not _is_order(transport, request) or not (FOLDER / f"{PART}.request-written").exists():
            return await original(transport, request)
        asking = asyncio.ensure_future(original(transport, request))
        _UNDER_WAY.add(asking)
        await asyncio.sleep(_SETTLE_SECONDS)
        strike("request-written")
        return await asking

    httpx.AsyncHTTPTransport.handle_async_request = wrapped  # type: ignore[method-assign,assignment]


def _is_order(_: object, request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path == "/api/v3/order"


def _is_pair(_: object, request: httpx.Request) -> bool:
    return request.method == "POST" and request.url.path == "/api/v3/orderList/oco"


def _is_leg(_: object, client_order_id: str, report: OrderReport, **__: object) -> bool:
    """Of an accepted stop, which is recorded before its target."""
    return report.type is OrderType.STOP_LOSS and report.status is OrderStatus.NEW


# A command that comes again, unacknowledged since the crash of the test before, writes no intent.
wrap(OrderBook, "write_intent", before="intent-before", after="intent-after", needs_result=True)
wrap(Transactions, "has_lease", after="lease-checked")
wrap(OrderBook, "renew_intent", before="renew-before", after="renew-after")
wrap(BinanceClient, "place", after="answer-read")
wrap(BinanceClient, "order", before="look-up-before", after="look-up-after")
wrap(httpx.AsyncHTTPTransport, "handle_async_request", after="order-sent", only=_is_order)
wrap_request_written()
wrap(ProtectionBook, "_plan", after="plan-within")
wrap(ProtectionBook, "let_go", before="let-go-before", after="let-go-after", needs_result=True)
wrap(ProtectionBook, "withdraw", after="withdraw-after")
wrap(ProtectionBook, "give_up", after="give-up-after", needs_result=True)
wrap(BinanceClient, "place_list", after="pair-answer-read")
wrap(httpx.AsyncHTTPTransport, "handle_async_request", after="pair-sent", only=_is_pair)
wrap(Outcomes, "record_report", before="leg-before", after="leg-after", only=_is_leg)
wrap(BinanceClient, "cancel", before="cancel-before", after="cancel-after")
wrap(Outcomes, "record_report", before="record-before", after="record-after")
wrap(Outcomes, "_record_end", before="end-before", after="end-after")
wrap(Transactions, "announce", after="record-within")
wrap(Bus, "publish", before="publish-before", after="publish-after")
wrap(webhook_worker.WebhookWorker, "_commit", before="commit-before", after="commit-after")
wrap(strategy_worker.StrategyWorker, "_commit", before="commit-before", after="commit-after")
wrap(handover, "enqueue", after="commit-within")
wrap(Msg, "ack", before="ack-before", after="ack-after", settle=True)

if __name__ == "__main__":
    main()
