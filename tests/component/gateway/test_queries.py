"""What a gateway says of the account holds for the next order, or it says nothing."""

from __future__ import annotations

import pytest

from aristobot.contracts.messages import QueryEnvelope, QueryReply, SizingQuery
from aristobot.contracts.streams import query_subject
from aristobot.core.errors import Retryable
from aristobot.gateway.transactions import Transactions
from tests.component.gateway.conftest import SYMBOL, Desk, eventually


async def test_a_gateway_that_was_replaced_sizes_nothing(desk: Desk) -> None:
    """Its successor's orders may have changed the balances that it remembers."""
    query = QueryEnvelope(query=SizingQuery(symbol=SYMBOL)).encode()

    async def ask() -> QueryReply:
        data = await desk.bus.request(query_subject(desk.key), query, timeout_seconds=3)
        return QueryReply.model_validate_json(data)

    async def is_sized() -> bool:
        try:
            return (await ask()).sizing is not None
        except Retryable:  # not serving yet
            return False

    await eventually(is_sized, what="an answer")
    await Transactions(desk.database, desk.key, {}).take_lease("successor")
    with pytest.raises(Retryable):
        await ask()
    await desk.fenced()
    await eventually(is_sized, what="the next one's answer")


async def test_a_question_that_cannot_be_read_is_refused(desk: Desk) -> None:
    async def ask() -> QueryReply | None:
        try:
            data = await desk.bus.request(query_subject(desk.key), b"?", timeout_seconds=3)
        except Retryable:
            return None
        return QueryReply.model_validate_json(data)

    failure = (await eventually(ask, what="an answer")).failure
    assert failure is not None
    assert (failure.code, failure.is_final) == ("bad_query", True)
