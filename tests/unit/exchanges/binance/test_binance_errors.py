"""What a refusal means: the table of codes, for acting and for reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.exchanges.binance.errors import acting_error, is_nothing_to_cancel, read_error
from aristobot.exchanges.port import WOULD_TRIGGER, ExchangeRefused, UnknownOutcome


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, -1013, "Filter failure: NOTIONAL"),
        (400, -1100, "Illegal characters found in parameter 'price'"),
        (400, -1102, "Mandatory parameter was not sent"),
        (400, -1111, "Precision is over the maximum"),
        (400, -1121, "Invalid symbol."),
        (400, -1022, "Signature for this request is not valid."),
        (400, -2010, "Account has insufficient balance for requested action."),
        (400, -2010, "Market is closed."),
        (401, -2014, "API-key format invalid."),
        (401, -2015, "Invalid API-key, IP, or permissions for action."),
        (400, -2011, "Order was not canceled due to cancel restrictions."),
    ],
)
def test_definite_refusals(status: int, code: int, message: str) -> None:
    error = acting_error(status, code, message)
    assert isinstance(error, ExchangeRefused)
    assert error.code == str(code)
    assert message.rstrip(".") in str(error)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (500, None, ""),
        (503, -1008, "Server is currently overloaded"),
        (502, -2010, "Account has insufficient balance for requested action."),
        (400, -1000, "An unknown error occurred"),
        (400, -1001, "Internal error"),
        (400, -1006, "An unexpected response was received"),
        (408, -1007, "Timeout waiting for response from backend server."),
        (504, None, "<html>"),
        (400, None, "<html>"),
        (403, None, "<html>"),
        (302, None, ""),
        (429, -1003, "Too much request weight used"),
        (418, None, ""),
        (429, -1015, "Too many new orders"),
        (400, -1008, "overload"),
        (400, -1021, "Timestamp for this request is outside of the recvWindow."),
        (400, -2010, "Duplicate order sent."),
    ],
)
def test_everything_else_is_an_unknown_outcome(status: int, code: int | None, message: str) -> None:
    assert isinstance(acting_error(status, code, message), UnknownOutcome)


@pytest.mark.parametrize(
    ("status", "code", "is_sure"),
    [
        (429, -1003, True),
        (418, -1003, True),
        (429, -1015, True),
        (400, -1021, True),
        (429, None, False),  # whose word a bare page is, nobody knows
        (503, -1003, False),
        (503, -1008, False),
        (400, -1008, False),
        (400, -1007, False),
        (400, -2010, False),
    ],
)
def test_turned_away_is_only_what_is_certain(status: int, code: int | None, is_sure: bool) -> None:
    error = acting_error(status, code, "Duplicate order sent.")
    assert isinstance(error, UnknownOutcome)
    assert error.was_turned_away is is_sure


def test_retry_after_is_passed_on() -> None:
    error = acting_error(429, -1003, "", retry_after=17)
    assert isinstance(error, UnknownOutcome)
    assert error.retry_after_seconds == 17
    without = acting_error(400, -1021, "")
    assert isinstance(without, UnknownOutcome)
    assert without.retry_after_seconds > 0
    read = read_error(418, None, "", retry_after=120)
    assert isinstance(read, Retryable)
    assert read.after_seconds == 120


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, None, Retryable),
        (503, -1008, Retryable),
        (400, -1007, Retryable),
        (429, -1003, Retryable),
        (400, -1021, Retryable),
        (403, None, Retryable),
        (400, -1022, Misconfigured),
        (401, -2014, Misconfigured),
        (401, -2015, Misconfigured),
        (400, -1121, Misconfigured),
        (410, None, Misconfigured),
        (451, None, Misconfigured),
    ],
)
def test_reads(status: int, code: int | None, expected: type[Exception]) -> None:
    assert type(read_error(status, code, "text")) is expected


@given(st.integers(300, 599), st.none() | st.integers(-9999, 0), st.text())
def test_only_a_4xx_with_a_code_is_ever_a_refusal(
    status: int, code: int | None, message: str
) -> None:
    error = acting_error(status, code, message)
    if isinstance(error, ExchangeRefused):
        assert 400 <= status < 500
        assert code is not None


def test_nothing_to_cancel() -> None:
    assert is_nothing_to_cancel(-2011, "Unknown order sent.")
    assert is_nothing_to_cancel(-2013, "Order does not exist.")
    assert not is_nothing_to_cancel(-2011, "Order was not canceled due to cancel restrictions.")
    assert not is_nothing_to_cancel(None, "")


@pytest.mark.parametrize(
    "message",
    [
        "Order would trigger immediately.",
        "Order would immediately match and take.",
        "The relationship of the prices for the orders is not correct.",
    ],
)
def test_a_price_that_is_passed_has_one_name(message: str) -> None:
    error = acting_error(400, -2010, message)
    assert isinstance(error, ExchangeRefused)
    assert error.code == WOULD_TRIGGER
    assert message.rstrip(".") in str(error)
    other = acting_error(400, -1013, message)  # a filter's refusal has its own words
    assert isinstance(other, ExchangeRefused)
    assert other.code == "-1013"
