"""Asks the engine what is held on a broker; see `contracts.messages.HoldingsQuery`."""

from __future__ import annotations

from collections.abc import Iterable

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import HoldingsQuery, HoldingsReply
from aristobot.contracts.streams import BrokerKey, holdings_query_subject
from aristobot.core.errors import Refused, Retryable
from aristobot.platform.bus import Bus
from aristobot.platform.query import ask

#: The engine answers from the database alone.
_TIMEOUT_SECONDS = 3.0


async def ask_holdings(bus: Bus, key: BrokerKey, decision_ids: Iterable[str] = ()) -> HoldingsReply:
    """What all holders of the broker have, and what became of these decisions.

    Raises `Retryable` when the engine or its database is away.
    """
    try:
        reply = await ask(
            bus,
            holdings_query_subject(key),
            HoldingsQuery(decision_ids=tuple(decision_ids)).encode(),
            destination=names.ENGINE_HOLDINGS,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
    except Refused as refusal:
        # An engine of another version, say, which is on its way out.
        raise Retryable(f"the engine refuses: {refusal}") from refusal
    if reply.holdings is None:
        raise Retryable("the engine's answer can't be read")
    return reply.holdings
