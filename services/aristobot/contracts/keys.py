"""Every id and deduplication key that must come out the same after a crash: functions of inputs.

From the delivery that came in down to the event of a fill, each step's id follows from the step
before, so a repetition carries the same id and is recognised. All are SHA-256 over parts with
their lengths, so that no two lists of parts make the same input, and over a domain word, so that
no two kinds of key can be equal. Deliberately not here: random ids (trace ids, tokens themselves).
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from aristobot.core.alert import Alert
from aristobot.core.candles import Candle
from aristobot.core.orders import OrderStatus

#: Fits every venue: letters and digits, at most 32 (exchange reference 1.5).
CLIENT_ORDER_ID_PREFIX = "ab"
_CLIENT_ORDER_ID_BYTES = 15


def _digest(domain: str, *parts: bytes | str | None) -> bytes:
    digest = hashlib.sha256()
    for part in (domain, *parts):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        # An absent part differs from an empty one.
        digest.update(b"-" if data is None else b"%d:" % len(data))
        digest.update(data or b"")
    return digest.digest()


def _uuid(domain: str, *parts: bytes | str | None) -> str:
    # The form of a version 5 UUID (a name's hash), so that it fits a uuid column.
    return str(uuid.UUID(bytes=_digest(domain, *parts)[:16], version=5))


def token_hash(token: str) -> str:
    """The key of a webhook token in the tokens bucket: plain SHA-256, 64 hex digits.

    Plain is enough: a token is random, so there is nothing to guess it from.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def delivery_key(token: str, body: bytes) -> str:
    """The same for every re-sent copy of one delivery; the message id on WEBHOOKS. 64 hex."""
    return _digest("delivery", token, body).hex()


def signal_key(owner: str, broker: str, alert: Alert) -> str | None:
    """The same for whatever claims to be one indicator's signal on one bar. 64 hex.

    None when the alert has no bar time: nothing then tells a repetition from a new signal.
    """
    if alert.bar_time is None:
        return None
    return _digest(
        "signal",
        owner,
        broker,
        alert.indicator,
        alert.symbol,
        alert.interval.text if alert.interval else None,
        alert.bar_time.astimezone(UTC).isoformat(),
        alert.action.value,
    ).hex()


def webhook_id(delivery_key: str, stream_sequence: int) -> str:
    """The webhook's row id, a UUID. The sequence tells apart equal bodies sent hours apart."""
    return _uuid("webhook", delivery_key, str(stream_sequence))


def command_id(webhook_id: str) -> str:
    """The id of the order command that a webhook leads to, a UUID; the message id on ORDERS."""
    return _uuid("command", webhook_id)


def client_order_id(command_id: str) -> str:
    """The order's id at the exchange: 26 characters of a-z and 2-7."""
    digest = _digest("client-order", command_id)[:_CLIENT_ORDER_ID_BYTES]
    return CLIENT_ORDER_ID_PREFIX + base64.b32encode(digest).decode().lower()


def decision_id(owner: str, active_strategy: str, uid: str, candle_close: datetime) -> str:
    """The id of what a strategy decided on one candle, a UUID; the message id on DECISIONS.

    What it decided is no part of it: a candle that is decided again, after its order was filled,
    is decided otherwise, and only the first verdict may lead to an order. `uid` tells apart two
    active strategies of the same name, one deleted before the other came.
    """
    moment = candle_close.astimezone(UTC).isoformat()
    return _uuid("decision", owner, active_strategy, uid, moment)


def manual_decision_id(
    owner: str, active_strategy: str, broker: str, symbol: str, asked_at: datetime
) -> str:
    """The id of one "sell now", a UUID; asking again later is another one."""
    moment = asked_at.astimezone(UTC).isoformat()
    return _uuid("manual-decision", owner, active_strategy, broker, symbol, moment)


def cancel_decision_id(
    owner: str, active_strategy: str, broker: str, symbol: str, asked_at: datetime
) -> str:
    """The id of one wish to cancel a strategy's open orders, a UUID; as `manual_decision_id`."""
    moment = asked_at.astimezone(UTC).isoformat()
    return _uuid("cancel-decision", owner, active_strategy, broker, symbol, moment)


def unproven_decision_id(subject: str, stream_sequence: int) -> str:
    """The row id of a decision whose own id is not the function of its fields, a UUID.

    Recorded under the id it claims, it could take the place of the one that the id belongs to.
    """
    return _uuid("unproven-decision", subject, str(stream_sequence))


def decision_command_id(decision_id: str) -> str:
    """The id of the order command that a decision leads to, a UUID."""
    return _uuid("decision-command", decision_id)


def protection_id(command_id: str, role: str) -> str:
    """The id of an order that protects what `command_id` left in the position, a UUID.

    `role`: `stop`, `target`, `list` (what binds the two at the exchange) or `close` (the sale at
    market when a stop was passed before it could be placed).
    """
    return _uuid("protection", command_id, role)


def candle_id(market: str, candle: Candle) -> str:
    """The message id on CANDLES: `<market>:<symbol>:<timeframe>:<close time>`, in ms."""
    close_ms = int(candle.close_time.timestamp() * 1000)
    return f"{market}:{candle.symbol}:{candle.timeframe}:{close_ms}"


def cancel_id(client_order_id: str, asked_at: datetime) -> str:
    """The id of one request to cancel an order, a UUID; asking again later is another one."""
    return _uuid("cancel", client_order_id, asked_at.isoformat())


def event_id(client_order_id: str, status: OrderStatus, executed_quantity: Decimal) -> str:
    """The message id on ORDER_EVENTS; equal quantities count as equal however written. 64 hex."""
    # Not normalize(): it rounds to the context's precision.
    text = f"{executed_quantity:f}"
    plain = text.rstrip("0").rstrip(".") if "." in text else text
    return _digest("event", client_order_id, status.value, plain).hex()
