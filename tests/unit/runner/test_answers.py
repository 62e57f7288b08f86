"""Whatever a sealed process answers, the host gets a sound answer or a plain failure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.contracts.messages import StrategyContext
from aristobot.runner.answers import (
    Decided,
    StrategyFailed,
    parse_answer,
    parse_done,
    to_strategy_answer,
)
from aristobot.runner.framing import BadFrame, length_of, pack, unpack

_FREE = Decimal("1000")
_CONTEXTS = (
    StrategyContext(quantity=Decimal(0), free_quote=_FREE),
    StrategyContext(quantity=Decimal(1), entry_price=Decimal(90), free_quote=_FREE),
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
_number = st.decimals().map(str) | st.floats().map(repr) | st.text(max_size=70)
_level = st.none() | st.fixed_dictionaries(
    {"value": _number, "kind": st.sampled_from(["price", "fraction", None, "x"])}
)
_decision = st.fixed_dictionaries(
    {"action": st.sampled_from(["buy", "sell", "none", "BUY"])},
    optional={"size": _number, "stop": _level, "target": _level, "more": _json},
)
_answer = st.fixed_dictionaries(
    {"id": st.sampled_from([7, 8, "7", True, None])},
    optional={
        "done": _decision | _json,
        "failed": _json,
        "printed": st.lists(st.text(max_size=700), max_size=70),
        "more": _json,
    },
)


@given(_answer | st.dictionaries(st.text(max_size=8), _json), st.sampled_from(_CONTEXTS))
def test_nothing_but_a_sound_answer_or_a_failure_comes_out(
    content: dict[str, Any], context: StrategyContext
) -> None:
    try:
        answer = parse_answer(content, 7)
        decided = parse_done(Decided, answer)
        result = to_strategy_answer(decided, Decimal(100), context, tuple(answer.printed))
    except StrategyFailed:
        return
    assert content["id"] == 7
    if result.action == "buy":
        assert context.quantity == 0
        assert result.quote_amount is not None
        assert 0 < result.quote_amount <= _FREE
        for level in (result.stop_loss, result.take_profit):
            assert level is None or (level.value.is_finite() and level.value > 0)
    else:
        assert (result.quote_amount, result.stop_loss, result.take_profit) == (None, None, None)
    if result.action == "sell":
        assert context.quantity > 0


@given(st.binary(max_size=200))
def test_a_body_is_an_object_or_refused(body: bytes) -> None:
    try:
        content = unpack(body)
    except BadFrame:
        return
    assert isinstance(content, dict)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"1" * 10_000, b'"x"', b"null", b"\xff", b""])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack(body)


def test_a_frame_is_not_longer_than_allowed_in_either_direction() -> None:
    frame = pack({"x": "y" * 50}, 100)
    assert unpack(frame[4:]) == {"x": "y" * 50}
    assert length_of(frame[:4], 100) == len(frame) - 4
    with pytest.raises(BadFrame):
        length_of(frame[:4], 50)
    with pytest.raises(BadFrame):
        pack({"x": "y" * 50}, 50)
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, 100)
    assert json.loads(frame[4:]) == {"x": "y" * 50}
