"""Asks a broker's gateway for the account, as it stands once the last order is settled."""

from __future__ import annotations

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import (
    WEBHOOK_HOLDER,
    QueryEnvelope,
    SizingQuery,
    SizingReply,
)
from aristobot.contracts.streams import BrokerKey, query_subject
from aristobot.core.errors import Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.query import ask

#: The gateway answers "not yet" by itself after 1.5 s; this only bounds a gateway that is gone.
_TIMEOUT_SECONDS = 3.0


class GatewayClient:
    """Request/reply to the gateways, over core NATS."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def sizing(
        self, key: BrokerKey, symbol: str, after_command: str | None, holder: str = WEBHOOK_HOLDER
    ) -> SizingReply:
        """What sizing needs, for an order of `holder`'s.

        Raises `Refused` (unknown symbol, ...) or `Retryable`.
        """
        query = QueryEnvelope(
            query=SizingQuery(symbol=symbol, after_command=after_command, holder=holder)
        )
        reply = await ask(
            self._bus,
            query_subject(key),
            query.encode(),
            destination=names.GATEWAY_QUERY,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
        if reply.sizing is None:
            raise Retryable("the gateway's answer can't be read")
        return reply.sizing
