"""Binance's error codes, texts and HTTP statuses (exchange reference 1.4, 2.3, 2.9). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aristobot.simulator.orders import Refusal


class BinanceError(Exception):
    """An answer `{"code": ..., "msg": ...}`; `retry_after_seconds` becomes a header."""

    def __init__(
        self, code: int, message: str, *, status: int = 400, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_seconds = retry_after_seconds


_FILTER = "Filter failure: "
_REFUSALS: Mapping[Refusal, tuple[int, str]] = {
    Refusal.PRICE_STEP: (-1013, f"{_FILTER}PRICE_FILTER"),
    Refusal.PRICE_BAND: (-1013, f"{_FILTER}PERCENT_PRICE_BY_SIDE"),
    Refusal.QUANTITY: (-1013, f"{_FILTER}LOT_SIZE"),
    Refusal.MARKET_QUANTITY: (-1013, f"{_FILTER}MARKET_LOT_SIZE"),
    Refusal.NOTIONAL: (-1013, f"{_FILTER}NOTIONAL"),
    Refusal.OPEN_ORDERS: (-1013, f"{_FILTER}MAX_NUM_ORDERS"),
    Refusal.CONDITIONAL_ORDERS: (-1013, f"{_FILTER}MAX_NUM_ALGO_ORDERS"),
    Refusal.ORDER_LISTS: (-1013, f"{_FILTER}MAX_NUM_ORDER_LISTS"),
    Refusal.INSUFFICIENT_BALANCE: (
        -2010,
        "Account has insufficient balance for requested action.",
    ),
    Refusal.DUPLICATE_CLIENT_ID: (-2010, "Duplicate order sent."),
    Refusal.WOULD_MATCH: (-2010, "Order would immediately match and take."),
    Refusal.WOULD_TRIGGER: (-2010, "Order would trigger immediately."),
    Refusal.LIST_PRICES: (
        -2010,
        "The relationship of the prices for the orders is not correct.",
    ),
    Refusal.NOT_OPEN: (-2011, "Unknown order sent."),
}


def from_refusal(refusal: Refusal) -> BinanceError:
    """The engine's refusal in Binance's words."""
    code, message = _REFUSALS[refusal]
    return BinanceError(code, message)


def missing(name: str) -> BinanceError:
    return BinanceError(
        -1102,
        f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
    )


def neither_sent(first: str, second: str) -> BinanceError:
    return BinanceError(
        -1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!"
    )


def not_required(name: str) -> BinanceError:
    return BinanceError(-1106, f"Parameter '{name}' sent when not required.")


def illegal(name: str, pattern: str) -> BinanceError:
    return BinanceError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'."
    )


def too_precise(name: str) -> BinanceError:
    return BinanceError(-1111, f"Parameter '{name}' has too much precision.")


def invalid_symbol() -> BinanceError:
    return BinanceError(-1121, "Invalid symbol.")


def invalid_value(name: str) -> BinanceError:
    return BinanceError(-1130, f"Data sent for parameter '{name}' is not valid.")


def unknown_order() -> BinanceError:
    return BinanceError(-2013, "Order does not exist.")


def unknown_list() -> BinanceError:
    return BinanceError(-2013, "Order list does not exist.")


def no_list_to_cancel() -> BinanceError:
    return BinanceError(-2011, "Unknown order list sent.")


def bad_signature() -> BinanceError:
    return BinanceError(-1022, "Signature for this request is not valid.")


def bad_key_format() -> BinanceError:
    return BinanceError(-2014, "API-key format invalid.", status=401)


def unknown_key() -> BinanceError:
    return BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


def too_much_weight(limit: int, retry_after_seconds: int) -> BinanceError:
    return BinanceError(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
        status=429,
        retry_after_seconds=retry_after_seconds,
    )


def banned(until_ms: int, retry_after_seconds: int) -> BinanceError:
    return BinanceError(
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        status=418,
        retry_after_seconds=retry_after_seconds,
    )


def too_many_orders(limit: int, interval: str, retry_after_seconds: int) -> BinanceError:
    return BinanceError(
        -1015,
        f"Too many new orders; current limit is {limit} orders per {interval}.",
        status=429,
        retry_after_seconds=retry_after_seconds,
    )
