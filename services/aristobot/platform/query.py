"""Asks a gateway or the engine a question over core NATS, and tells the ways it can fail apart.

`Refused` is a final no (an unknown symbol): asking again won't help. `Retryable` is everything
else: nobody serves it now, the exchange is away, the answer can't be read.
"""

from __future__ import annotations

from pydantic import ValidationError

from aristobot.contracts.messages import QueryReply
from aristobot.core.errors import Refused, Retryable
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus

_AGAIN_SECONDS = 0.3


async def ask(
    bus: Bus, subject: str, payload: bytes, *, destination: str, timeout_seconds: float
) -> QueryReply:
    """The reply, which is no failure. `destination`: the subject's template in `trace_names`."""
    with telemetry.request_span(destination) as carrier:
        data = await bus.request(subject, payload, headers=carrier, timeout_seconds=timeout_seconds)
    try:
        reply = QueryReply.model_validate_json(data)
    except ValidationError as error:
        raise Retryable(f"the answer on {subject} can't be read") from error
    failure = reply.failure
    if failure is None:
        return reply
    if failure.is_final:
        raise Refused(failure.code, failure.message)
    raise Retryable(failure.message, after_seconds=_AGAIN_SECONDS)
