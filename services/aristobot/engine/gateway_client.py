"""Asks a broker's gateway for the account, as it stands once the last order is settled."""

from __future__ import annotations

from pydantic import ValidationError

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import QueryEnvelope, QueryReply, SizingQuery, SizingReply
from aristobot.contracts.streams import BrokerKey, query_subject
from aristobot.core.errors import Refused, Retryable
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus

#: The gateway answers "not yet" by itself after 1.5 s; this only bounds a gateway that is gone.
_TIMEOUT_SECONDS = 3.0
_AGAIN_SECONDS = 0.3


class GatewayClient:
    """Request/reply to the gateways, over core NATS."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def sizing(self, key: BrokerKey, symbol: str, after_command: str | None) -> SizingReply:
        """What sizing needs. Raises `Refused` (unknown symbol, ...) or `Retryable`."""
        query = QueryEnvelope(query=SizingQuery(symbol=symbol, after_command=after_command))
        with telemetry.producer_span(
            names.GATEWAY_QUERY, attributes={names.SYMBOL: symbol}
        ) as carrier:
            data = await self._bus.request(
                query_subject(key),
                query.encode(),
                headers=carrier,
                timeout_seconds=_TIMEOUT_SECONDS,
            )
        try:
            reply = QueryReply.model_validate_json(data)
        except ValidationError as error:
            raise Retryable("the gateway's answer can't be read") from error
        if reply.sizing is not None:
            return reply.sizing
        if reply.failure is not None and reply.failure.is_final:
            raise Refused(reply.failure.code, reply.failure.message)
        reason = reply.failure.message if reply.failure else "the gateway sent no answer"
        raise Retryable(reason, after_seconds=_AGAIN_SECONDS)
