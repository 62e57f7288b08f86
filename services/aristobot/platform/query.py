"""Questions to a gateway or the engine over core NATS: how one fails, on the wire and off it again.

`answered` makes a failure of what goes wrong at who is asked, and `ask` an error of the failure.
`Refused` is a final no (an unknown symbol): asking again won't help. `Retryable` is everything
else: nobody serves it now, the exchange is away, the answer can't be read. Not here: the spans of
who is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from pydantic import ValidationError

from aristobot.contracts.messages import QueryFailure, QueryReply
from aristobot.core.errors import AristobotError, Fenced, Misconfigured, Refused, Retryable
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus

logger = logging.getLogger(__name__)

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


async def answered(reply: Awaitable[QueryReply], *, by: str) -> bytes:
    """The reply, or a failure that says what went wrong; `by`: who answers, in a word.

    Raises `Fenced` alone: who has been replaced leaves the answer to its successor.
    """
    try:
        return (await reply).encode()
    except Fenced:
        raise
    except AristobotError as error:
        failure = QueryFailure(
            code=error.code if isinstance(error, Refused) else "unavailable",
            message=str(error),
            is_final=isinstance(error, Refused | Misconfigured),
        )
    except ValidationError:
        failure = QueryFailure(code="bad_query", message="the query can't be read", is_final=True)
    except Exception as error:
        # The boundary of a request: the asker gets an answer, the log gets the traceback.
        logger.exception("query failed")
        failure = QueryFailure(
            code="internal",
            message=f"the {by} failed: {type(error).__name__}",
            is_final=False,
        )
    return QueryReply(failure=failure).encode()
