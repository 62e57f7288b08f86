"""The platform's metrics, all of them, on one registry of our own.

Names are `aristobot_<noun>_<unit>`; labels are bounded (broker, outcome, stream, consumer), never
ids. A trace id rides along as an exemplar, which only the OpenMetrics format shows. Not here:
serving them (`admin_server.py`).
"""

from __future__ import annotations

from opentelemetry.trace import get_current_span
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# 0.1 is the promise at p99, 3.0 is when TradingView hangs up.
_ACCEPT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
_ORDER_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

WEBHOOK_ACCEPT_SECONDS = Histogram(
    "aristobot_webhook_accept_seconds",
    "From the request's headers to its answer.",
    ["status"],
    buckets=_ACCEPT_BUCKETS,
    registry=REGISTRY,
)
WEBHOOK_ANSWERS = Counter(
    "aristobot_webhook_answers", "Webhook requests by HTTP status.", ["status"], registry=REGISTRY
)
WEBHOOKS = Counter(
    "aristobot_webhooks", "Webhooks recorded, by outcome.", ["outcome"], registry=REGISTRY
)
DECISIONS = Counter(
    "aristobot_decisions",
    "Decisions of strategies recorded, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
MESSAGES_DROPPED = Counter(
    "aristobot_messages_dropped",
    "Messages that were given up: not readable, not their sender's to send, or at fault each time.",
    ["stream"],
    registry=REGISTRY,
)
WEBHOOK_DUPLICATES = Counter(
    "aristobot_webhook_duplicates",
    "Re-sent copies that the stream already had.",
    registry=REGISTRY,
)
UNPROTECTED_SECONDS = Histogram(
    "aristobot_position_unprotected_seconds",
    "From the end of an entry (or exit) to the exchange's word that its stop or target is there.",
    ["broker"],
    buckets=_ORDER_BUCKETS,
    registry=REGISTRY,
)
SIGNAL_TO_ORDER_SECONDS = Histogram(
    "aristobot_signal_to_order_seconds",
    "From receiving a signal to the exchange's acceptance of its order.",
    ["broker"],
    buckets=_ORDER_BUCKETS,
    registry=REGISTRY,
)
CANDLE_TO_DECISION_SECONDS = Histogram(
    "aristobot_candle_to_decision_seconds",
    "From a candle's publication to the decision that a strategy made on it.",
    ["broker"],
    buckets=_ORDER_BUCKETS,
    registry=REGISTRY,
)
ORDER_TO_ACK_SECONDS = Histogram(
    "aristobot_order_to_ack_seconds",
    "From sending an order to the exchange's answer.",
    ["broker", "outcome"],
    buckets=_ORDER_BUCKETS,
    registry=REGISTRY,
)
ORDERS_UNKNOWN = Gauge(
    "aristobot_orders_unknown",
    "Orders whose outcome the exchange has not told yet.",
    ["broker"],
    registry=REGISTRY,
)
SPANS_DROPPED = Counter(
    "aristobot_spans_dropped",
    "Spans that never reached the collector.",
    ["reason"],
    registry=REGISTRY,
)
PUBLISH_FAILURES = Counter(
    "aristobot_stream_publish_failures",
    "Publishes that a stream did not acknowledge.",
    ["stream"],
    registry=REGISTRY,
)
CONSUMER_PENDING_MESSAGES = Gauge(
    "aristobot_consumer_pending_messages",
    "Messages that wait for a consumer.",
    ["consumer"],
    registry=REGISTRY,
)
MARKET_TRADES = Counter(
    "aristobot_market_trades", "Public trades taken.", ["market"], registry=REGISTRY
)
CANDLES_PUBLISHED = Counter(
    "aristobot_candles_published",
    "Candles acknowledged by the stream; late ones were fetched after a gap.",
    ["market", "timeframe", "is_late"],
    registry=REGISTRY,
)
CANDLES_DOUBTFUL = Counter(
    "aristobot_candles_doubtful",
    "Minutes that were published and then turned out to lack a trade.",
    ["market"],
    registry=REGISTRY,
)
CANDLE_CLOSE_SECONDS = Histogram(
    "aristobot_candle_close_seconds",
    "From taking the trade that closes a candle to the stream's acknowledgement.",
    ["market"],
    buckets=_ORDER_BUCKETS,
    registry=REGISTRY,
)
HEARTBEAT_OPEN_GAPS = Gauge(
    "aristobot_heartbeat_open_gaps",
    "Spans of missed minutes that are not fetched yet.",
    ["market"],
    registry=REGISTRY,
)
HEARTBEAT_COHERENT = Gauge(
    "aristobot_heartbeat_coherent",
    "1 when no stored candle is missing and the longer ones equal their minutes.",
    ["market"],
    registry=REGISTRY,
)
HEARTBEAT_LAST_MESSAGE = Gauge(
    "aristobot_heartbeat_last_message_timestamp_seconds",
    "When the newest trade came, by our clock.",
    ["market"],
    registry=REGISTRY,
)
SPANS_STORED = Counter("aristobot_spans_stored", "Spans written to PostgreSQL.", registry=REGISTRY)


def observe_with_trace(histogram: Histogram, seconds: float) -> None:
    """Observe `seconds`, with the current trace as exemplar if it is sampled."""
    context = get_current_span().get_span_context()
    if context.trace_flags.sampled:
        histogram.observe(seconds, {"trace_id": f"{context.trace_id:032x}"})
    else:
        histogram.observe(seconds)
