"""What a Binance refusal means for whoever asked: the one place that knows the error codes.

Pure. Two questions with different answers. For a call that *acts* (placing, cancelling) the only
safe certainty is a definite business refusal; everything that leaves room for doubt is an
`UnknownOutcome`, also refusals at the door (rate limit, overload, clock), after which only a look
tells. For a *read* nothing can have happened: it is `Retryable`, or `Misconfigured` when asking
again can't help. Sources: exchange reference 1.4, 2.3 and 2.9.
"""

from __future__ import annotations

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.exchanges.port import (
    WOULD_TRIGGER,
    ExchangeRefused,
    HttpCall,
    UnknownOutcome,
)

BAD_TIMESTAMP = -1021
CANCEL_REJECTED = -2011
NEW_ORDER_REJECTED = -2010
NO_SUCH_ORDER = -2013

_DISTURBED = frozenset(
    {
        -1000,  # unknown error while processing
        -1001,  # internal error, disconnected
        -1004,  # server busy
        -1006,  # unexpected response: execution status unknown
        -1007,  # timeout: execution status unknown
        -1016,  # service shutting down
    }
)
# Said before anything else is looked at, so with a 4xx the request is certainly not under way.
_TURNED_AWAY = frozenset(
    {
        -1003,  # too many requests, or banned
        -1015,  # too many new orders
        -1034,  # too many connections
        BAD_TIMESTAMP,
    }
)
_OVERLOADED = -1008
_AT_THE_DOOR = _TURNED_AWAY | {_OVERLOADED}
_LIMITED_STATUSES = frozenset({418, 429})
_UNREADABLE_4XX_FOR_GOOD = frozenset({401, 404, 405, 410, 451})
# The codes that share one list of messages in Binance's documentation.
_REJECTIONS = frozenset({-1010, NEW_ORDER_REJECTED, CANCEL_REJECTED})
# Of a stop or target, of a limit_maker, and of an order list (2.6, 2.7, 2.9).
_PRICE_PASSED = (
    "would trigger immediately",
    "would immediately match and take",
    "relationship of the prices",
)
_DOOR_RETRY_SECONDS = 1.0
_FIREWALL_RETRY_SECONDS = 30.0


def acting_error(
    status: int,
    code: int | None,
    message: str,
    *,
    retry_after: float | None = None,
    call: HttpCall | None = None,
) -> ExchangeRefused | UnknownOutcome:
    """The error of an answer other than 2xx to placing or cancelling.

    `code` None: the body was no error object of Binance's (a proxy's page, a firewall's).
    """
    if status in _LIMITED_STATUSES or code in _AT_THE_DOOR:
        wait = retry_after if retry_after is not None else _DOOR_RETRY_SECONDS
        text = f"Binance turned the request away{_suffix(code, message)}; only a look tells."
        is_sure = code in _TURNED_AWAY and 400 <= status < 500
        return UnknownOutcome(text, retry_after_seconds=wait, was_turned_away=is_sure, call=call)
    if code is None or not 400 <= status < 500:
        text = f"Binance answered HTTP {status}{_suffix(code, message)}: the outcome is unknown."
        return UnknownOutcome(text, retry_after_seconds=retry_after or 0.0, call=call)
    if code in _DISTURBED:
        text = f"Binance was disturbed{_suffix(code, message)}: the outcome is unknown."
        return UnknownOutcome(text, retry_after_seconds=retry_after or 0.0, call=call)
    if _is_duplicate(code, message):
        # An open order already carries this client order id: it may well be this very one.
        text = f"An order with this client order id is open at Binance{_suffix(code, message)}."
        return UnknownOutcome(text, call=call)
    name = WOULD_TRIGGER if _is_price_passed(code, message) else str(code)
    return ExchangeRefused(name, f"Binance refused{_suffix(code, message)}.", call=call)


def read_error(
    status: int, code: int | None, message: str, *, retry_after: float | None = None
) -> Retryable | Misconfigured:
    """The error of an answer other than 2xx to a read."""
    text = f"Binance answered HTTP {status}{_suffix(code, message)}."
    if status in _LIMITED_STATUSES or code in _AT_THE_DOOR:
        wait = retry_after if retry_after is not None else _DOOR_RETRY_SECONDS
        return Retryable(text, after_seconds=wait)
    if code in _DISTURBED or not 400 <= status < 500:
        return Retryable(text, after_seconds=retry_after or _DOOR_RETRY_SECONDS)
    if code is not None or status in _UNREADABLE_4XX_FOR_GOOD:
        return Misconfigured(text)
    return Retryable(text, after_seconds=retry_after or _FIREWALL_RETRY_SECONDS)


def is_nothing_to_cancel(code: int | None, message: str) -> bool:
    """Whether a refused cancel says that no such order is open."""
    if code == NO_SUCH_ORDER:
        return True
    return code == CANCEL_REJECTED and "unknown order" in message.lower()


def _is_duplicate(code: int, message: str) -> bool:
    return code == NEW_ORDER_REJECTED and "duplicate" in message.lower()


def _is_price_passed(code: int, message: str) -> bool:
    """Whether the market is already beyond the price that a conditional order was to wait for."""
    text = message.lower()
    return code in _REJECTIONS and any(words in text for words in _PRICE_PASSED)


def _suffix(code: int | None, message: str) -> str:
    text = message.strip().rstrip(".")
    if code is None:
        return f" ({text})" if text else ""
    return f" ({code} {text})" if text else f" ({code})"
