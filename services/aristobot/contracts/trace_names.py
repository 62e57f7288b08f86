"""Every span name and attribute key there is, so that dashboards, queries and code agree.

The messaging names follow OpenTelemetry's semantic conventions (open-telemetry/
semantic-conventions, docs/messaging/messaging-spans.md; status "Development", which is why they
stand in one place). Names use the subject's template, never an id: `send webhooks.received`.
Never an attribute: keys, tokens, balances.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

# --- destinations: subject templates, without owner and broker ---------------------------------
WEBHOOKS_RECEIVED: Final = "webhooks.received"
ORDERS_COMMANDS: Final = "orders.commands"
ORDERS_EVENTS: Final = "orders.events"
GATEWAY_QUERY: Final = "gateway.query"
ENGINE_QUERY: Final = "engine.query"
ENGINE_HOLDINGS: Final = "engine.holdings"
CANDLES_CLOSED: Final = "candles.closed"
STRATEGIES_DECIDED: Final = "strategies.decided"

# --- span names --------------------------------------------------------------------------------
RECEIVE_WEBHOOK: Final = "POST /webhook"
DECIDE: Final = "decide webhook"
RECORD_WEBHOOK: Final = "record webhook"
DECIDE_STRATEGY: Final = "decide strategy"
RECORD_DECISION: Final = "record decision"
SIZE: Final = "size order"
WRITE_INTENT: Final = "db write intent"
RECORD_OUTCOME: Final = "db record outcome"
RESOLVE_UNKNOWN: Final = "resolve unknown order"
APPLY_FILL: Final = "apply fill"
PROTECT: Final = "protect position"
CLEAR_FOR_SALE: Final = "clear for sale"
CANCEL_ORDERS: Final = "cancel orders"

SEND: Final = "send"
PROCESS: Final = "process"


def send_name(destination: str) -> str:
    """Name of the producer span of a subject template."""
    return f"{SEND} {destination}"


def process_name(destination: str) -> str:
    """Name of the consumer span of a subject template."""
    return f"{PROCESS} {destination}"


def exchange_name(method: str, venue: str) -> str:
    """Name of one attempt at an exchange, such as `POST binance`."""
    return f"{method} {venue}"


#: First words of root spans that are never sampled: they happen all the time and mean nothing
#: alone. Metrics cover them.
NEVER_SAMPLED: Final = frozenset({"probe", "tick", "heartbeat", "resync"})

# --- messaging attributes ----------------------------------------------------------------------
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_SYSTEM_NATS: Final = "nats"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_CONSUMER_GROUP: Final = "messaging.consumer.group.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
NATS_STREAM: Final = "messaging.nats.stream"
NATS_SEQUENCE: Final = "messaging.nats.sequence"
NATS_DELIVERY_COUNT: Final = "messaging.nats.delivery_count"


@cache
def messaging(operation: str, destination: str) -> Mapping[str, str]:
    """The attributes that every span of `operation` on `destination` has."""
    return {
        MESSAGING_SYSTEM: MESSAGING_SYSTEM_NATS,
        MESSAGING_OPERATION_TYPE: operation,
        MESSAGING_DESTINATION: destination,
    }


# --- HTTP and database attributes --------------------------------------------------------------
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
CLIENT_ADDRESS: Final = "client.address"
SERVER_ADDRESS: Final = "server.address"
DB_OPERATION: Final = "db.operation.name"

#: What every webhook request has in common. The path is never an attribute: it holds the token.
WEBHOOK_REQUEST: Final[Mapping[str, str]] = {HTTP_METHOD: "POST", HTTP_ROUTE: "/webhook"}

# --- business attributes -----------------------------------------------------------------------
OWNER: Final = "aristobot.owner"
BROKER: Final = "aristobot.broker"
WEBHOOK_ID: Final = "aristobot.webhook.id"
DECISION_ID: Final = "aristobot.decision.id"
STRATEGY: Final = "aristobot.strategy"
SYMBOL: Final = "aristobot.symbol"
SIDE: Final = "aristobot.side"
ACTION: Final = "aristobot.action"
INDICATOR: Final = "aristobot.indicator"
COMMAND_ID: Final = "aristobot.command_id"
CLIENT_ORDER_ID: Final = "aristobot.client_order_id"
QUANTITY: Final = "aristobot.quantity"
PRICE: Final = "aristobot.price"
DECISION: Final = "aristobot.decision"
OUTCOME: Final = "aristobot.outcome"
REASON: Final = "aristobot.reason"
IS_DUPLICATE: Final = "aristobot.is_duplicate"

#: Short names for keyword arguments: `consumer_span(..., broker="demo.demo", attempt=2)`.
ATTRIBUTE_OF: Final[Mapping[str, str]] = {
    "action": ACTION,
    "attempt": NATS_DELIVERY_COUNT,
    "broker": BROKER,
    "client_order_id": CLIENT_ORDER_ID,
    "command_id": COMMAND_ID,
    "decision": DECISION,
    "indicator": INDICATOR,
    "is_duplicate": IS_DUPLICATE,
    "outcome": OUTCOME,
    "owner": OWNER,
    "price": PRICE,
    "quantity": QUANTITY,
    "reason": REASON,
    "sequence": NATS_SEQUENCE,
    "side": SIDE,
    "status": HTTP_STATUS,
    "strategy": STRATEGY,
    "stream": NATS_STREAM,
    "symbol": SYMBOL,
    "webhook_id": WEBHOOK_ID,
}

#: Worth a column in a narrow view, the most telling first.
KEY_ATTRIBUTES: Final = (
    OUTCOME,
    DECISION,
    ACTION,
    SYMBOL,
    SIDE,
    QUANTITY,
    PRICE,
    CLIENT_ORDER_ID,
    BROKER,
    REASON,
    NATS_DELIVERY_COUNT,
    HTTP_STATUS,
    WEBHOOK_ID,
)

# --- span events: how a message was settled ----------------------------------------------------
EVENT_ACK: Final = "ack"
EVENT_NAK: Final = "nak"
EVENT_TERM: Final = "term"

# --- resource attributes -----------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
SERVICE_NAMESPACE: Final = "service.namespace"
