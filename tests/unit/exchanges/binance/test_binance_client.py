"""The client against a scripted server: what goes over the wire, and what each answer becomes."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from decimal import Decimal
from urllib.parse import parse_qs

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider

from aristobot.core.errors import Misconfigured, Retryable
from aristobot.core.orders import OrderStatus, OrderType, Side
from aristobot.exchanges.binance import http
from aristobot.exchanges.binance.client import BinanceClient
from aristobot.exchanges.binance.order_params import order_params, plain
from aristobot.exchanges.port import ExchangeRefused, OrderRequest, UnknownOutcome
from tests.unit.exchanges.binance.conftest import (
    API_KEY,
    API_SECRET,
    Reply,
    ScriptedVenue,
    make_client,
    payload_text,
)

D = Decimal
BUY = OrderRequest("BTCUSDT", Side.BUY, OrderType.MARKET, "ar-1", quote_quantity=D("25.50"))
STAMP = 1_700_000_000_000
FILLED = Reply(payload_text("order_market_full").replace("ar-6gCrw2kRUAF9CvJDGP16IP", "ar-1"))


def refusal(status: int, code: int, message: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"code": code, "msg": message}), status, named)


async def test_a_placed_order_on_the_wire(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(FILLED)
    answer = await client.place(BUY, timestamp_ms=STAMP)
    assert answer.report is not None
    assert answer.report.status is OrderStatus.FILLED
    assert [fill.fee for fill in answer.report.fills] == [D("24"), D("15.996")]
    (request,) = venue.requests
    assert (request.method, request.target) == ("POST", "/api/v3/order")
    payload, _, signature = request.body.rpartition("&signature=")
    assert payload == (
        "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=25.5&newClientOrderId=ar-1"
        f"&newOrderRespType=FULL&recvWindow=3000&timestamp={STAMP}"
    )
    assert signature == hmac.digest(API_SECRET.encode(), payload.encode(), "sha256").hex()


async def test_only_the_listed_headers_leave(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(FILLED)
    token = context.attach(baggage.set_baggage("owner", "demo"))
    try:
        with TracerProvider().get_tracer("test").start_as_current_span("order"):
            await client.place(BUY, timestamp_ms=STAMP)
    finally:
        context.detach(token)
    assert set(venue.requests[0].headers) == {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-mbx-apikey",
        "content-type",
        "content-length",
    }
    assert venue.requests[0].headers["x-mbx-apikey"] == API_KEY


async def test_public_reads_do_not_carry_the_key(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.will(Reply('{"symbol":"BTCUSDT","price":"65000.10"}'))
    assert await client.price("BTCUSDT") == D("65000.10")
    assert "x-mbx-apikey" not in venue.requests[0].headers
    assert venue.requests[0].target == "/api/v3/ticker/price?symbol=BTCUSDT"


async def test_signed_bytes_are_the_sent_bytes(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(Reply(payload_text("order_query")))
    await client.order("币安人生USDT", "a b+c&d=e")
    query = venue.requests[0].query
    payload, _, signature = query.rpartition("&signature=")
    assert payload.startswith(
        "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"
        "&origClientOrderId=a%20b%2Bc%26d%3De&timestamp="
    )
    assert signature == hmac.digest(API_SECRET.encode(), payload.encode(), "sha256").hex()


async def test_the_call_is_journalled_without_secrets(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.will(FILLED)
    call = (await client.place(BUY, timestamp_ms=STAMP)).call
    assert (call.method, call.path, call.status) == ("POST", "/api/v3/order", 200)
    assert call.answer == FILLED.body
    assert call.params["signature"] == "***"
    assert call.params["timestamp"] == str(STAMP)
    assert call.duration_ms > 0
    assert call.failure is None
    for secret in (API_KEY, API_SECRET):
        assert secret not in repr(call)


async def test_an_error_page_that_repeats_the_request_is_cleaned(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.will(FILLED)
    await client.place(BUY, timestamp_ms=STAMP)
    signature = venue.requests[0].body.rpartition("=")[2]
    venue.will(Reply(f"<html>{API_KEY} {signature}</html>", 502))
    with pytest.raises(UnknownOutcome) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.call is not None
    assert caught.value.call.answer == "<html>*** ***</html>"


async def test_nothing_secret_is_logged(
    venue: ScriptedVenue, client: BinanceClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue.will(Reply(payload_text("order_query")), FILLED)
    await client.order("BTCUSDT", "ar-1")
    await client.place(BUY, timestamp_ms=STAMP)
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    signatures = [request.query.rpartition("signature=")[2] for request in venue.requests]
    for secret in (API_KEY, API_SECRET, *signatures):
        assert len(secret) >= 64
        assert secret not in logged
    assert API_SECRET not in repr(vars(client))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (refusal(400, -2010, "Account has insufficient balance for requested action."), "-2010"),
        (refusal(400, -1013, "Filter failure: NOTIONAL"), "-1013"),
        (refusal(401, -2015, "Invalid API-key, IP, or permissions for action."), "-2015"),
    ],
)
async def test_refused_orders(
    venue: ScriptedVenue, client: BinanceClient, reply: Reply, code: str
) -> None:
    venue.will(reply)
    with pytest.raises(ExchangeRefused) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.code == code
    assert caught.value.call is not None
    assert caught.value.call.answer == reply.body


@pytest.mark.parametrize(
    "reply",
    [
        Reply("Service Unavailable", 503),
        Reply('{"code":-1007,"msg":"Timeout"}', 408),
        refusal(400, -2010, "Duplicate order sent."),
        refusal(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply("{}", 200),
        Reply("not json", 200),
        Reply(payload_text("order_ack"), 200),
        Reply(payload_text("order_limit_new"), 200),
        Reply(hang_up=True),
        Reply("", 307, {"Location": "/api/v3/elsewhere"}),
    ],
    ids=[
        "503",
        "408",
        "duplicate",
        "timestamp",
        "empty",
        "garbage",
        "ack",
        "other",
        "hang-up",
        "redirect",
    ],
)
async def test_unknown_outcomes_are_sent_once(
    venue: ScriptedVenue, client: BinanceClient, reply: Reply
) -> None:
    venue.time_ms = lambda: int(time.time() * 1000)
    venue.will(reply)
    with pytest.raises(UnknownOutcome) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.call is not None
    assert len(venue.orders) == 1


async def test_a_late_answer_is_an_unknown_outcome(
    venue: ScriptedVenue, client: BinanceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ORDER_READ_SECONDS", 0.1)
    venue.will(Reply(FILLED.body, after=0.5))
    with pytest.raises(UnknownOutcome) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.call is not None
    assert caught.value.call.answer is None
    assert caught.value.call.failure == "ReadTimeout"


async def test_nobody_there() -> None:
    client = make_client("http://127.0.0.1:1")
    try:
        with pytest.raises(UnknownOutcome, match="nothing was written"):
            await client.place(BUY, timestamp_ms=STAMP)
        with pytest.raises(Retryable):
            await client.connect()
    finally:
        await client.close()


async def test_a_ban_is_obeyed_by_orders_and_reads(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.will(refusal(429, -1003, "Too much request weight used", Retry_After="40"))
    with pytest.raises(UnknownOutcome) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.retry_after_seconds == 40
    with pytest.raises(UnknownOutcome) as held:
        await client.place(BUY, timestamp_ms=STAMP)
    assert 39 < held.value.retry_after_seconds <= 40
    assert held.value.call is None
    assert held.value.was_turned_away
    with pytest.raises(Retryable) as read:
        await client.account()
    assert 39 < read.value.after_seconds <= 40
    assert len(venue.requests) == 1


async def test_look_ups(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(
        Reply(payload_text("order_query")),
        refusal(400, -2013, "Order does not exist."),
        refusal(401, -2015, "Invalid API-key, IP, or permissions for action."),
        Reply("oops", 500),
        Reply(payload_text("my_trades")),
        Reply(payload_text("open_orders")),
    )
    found = await client.order("LTCBTC", "ar-query")
    assert found.report is not None
    assert found.report.status is OrderStatus.PARTIALLY_FILLED
    absent = await client.order("LTCBTC", "ar-none")
    assert absent.report is None
    assert absent.call.status == 400
    with pytest.raises(Misconfigured):
        await client.order("LTCBTC", "ar-query")
    with pytest.raises(Retryable):
        await client.order("LTCBTC", "ar-query")
    (fill,) = await client.fills("BNBBTC", "100234")
    assert fill.fee_asset == "BNB"
    assert "orderId=100234" in venue.requests[-1].query
    assert len(await client.open_orders()) == 2


async def test_cancelling(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(
        Reply(payload_text("order_cancelled")),
        refusal(400, -2011, "Unknown order sent."),
        Reply("", 503),
    )
    answer = await client.cancel("LTCBTC", "ar-own")
    assert answer.report is not None
    assert answer.report.client_order_id == "ar-own"
    assert venue.requests[0].method == "DELETE"
    assert (await client.cancel("LTCBTC", "ar-own")).report is None
    with pytest.raises(UnknownOutcome):
        await client.cancel("LTCBTC", "ar-own")


async def test_account_is_as_of_before_the_request(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.will(Reply(payload_text("account"), after=0.05))
    before = client.now_ms()
    account = await client.account()
    assert account.at is not None
    assert before <= round(account.at.timestamp() * 1000) <= client.now_ms() - 50
    assert set(account.balances) == {"BTC", "LTC"}
    assert "omitZeroBalances=true" in venue.requests[0].query


async def test_symbols_teach_the_limits(
    venue: ScriptedVenue, client: BinanceClient, caplog: pytest.LogCaptureFixture
) -> None:
    venue.will(
        Reply(payload_text("exchange_info")),
        Reply(FILLED.body, headers={"X-MBX-ORDER-COUNT-10S": "50"}),
    )
    assert set(await client.symbols()) == {"BTCUSDT", "OLDBTC"}
    assert "symbols not understood" in caplog.text
    await client.place(BUY, timestamp_ms=STAMP)
    with pytest.raises(UnknownOutcome, match="Not sent"):
        await client.place(BUY, timestamp_ms=STAMP)


async def test_the_clock_offset_is_measured(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.time_ms = lambda: int(time.time() * 1000) + 5000
    started = time.perf_counter()
    await client.connect()
    assert time.perf_counter() - started < 0.2
    assert abs(client.now_ms() - (time.time() * 1000 + 5000)) < 20
    venue.will(Reply(payload_text("account")))
    await client.account()
    stamp = int(parse_qs(venue.requests[-1].query)["timestamp"][0])
    assert abs(stamp - (time.time() * 1000 + 5000)) < 50


async def test_a_read_with_a_refused_timestamp_is_repeated_after_measuring(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    venue.time_ms = lambda: int(time.time() * 1000) - 9000
    refused = refusal(400, -1021, "Timestamp for this request was 1000ms ahead.")
    venue.will(refused, Reply(payload_text("account")), refused, refused)
    await client.account()
    stamp = int(parse_qs(venue.requests[-1].query)["timestamp"][0])
    assert abs(stamp - (time.time() * 1000 - 9000)) < 50
    with pytest.raises(Retryable):
        await client.account()
    assert len(venue.orders) == 4


async def test_an_order_with_a_refused_timestamp_makes_the_clock_look_again(
    venue: ScriptedVenue, client: BinanceClient
) -> None:
    ahead = 0
    venue.time_ms = lambda: int(time.time() * 1000) + ahead
    await client.connect()
    ahead = 7000
    venue.will(refusal(400, -1021, "Timestamp for this request is outside of the recvWindow."))
    with pytest.raises(UnknownOutcome) as caught:
        await client.place(BUY, timestamp_ms=STAMP)
    assert caught.value.retry_after_seconds > 0
    for _ in range(100):
        if abs(client.now_ms() - time.time() * 1000 - 7000) < 50:
            break
        await asyncio.sleep(0.02)
    assert abs(client.now_ms() - time.time() * 1000 - 7000) < 50
    assert len(venue.orders) == 1


async def test_connections_are_kept(venue: ScriptedVenue, client: BinanceClient) -> None:
    venue.will(*[FILLED] * 5)
    for _ in range(5):
        await client.place(BUY, timestamp_ms=STAMP)
    assert venue.connections == 1


async def test_close_leaves_nothing_behind(venue: ScriptedVenue) -> None:
    venue.time_ms = lambda: int(time.time() * 1000)
    client = make_client(venue.origin)
    await client.connect()
    await client.connect()
    assert [t.get_name() for t in asyncio.all_tasks()].count("binance-clock") == 1
    await client.close()
    await client.close()
    assert "binance-clock" not in {t.get_name() for t in asyncio.all_tasks()}


def test_limit_order_parameters() -> None:
    params = order_params(
        OrderRequest(
            "BTCUSDT", Side.SELL, OrderType.LIMIT, "ar-2", quantity=D("1E+1"), price=D("0.000001")
        )
    )
    assert params == {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "10",
        "price": "0.000001",
        "newClientOrderId": "ar-2",
        "newOrderRespType": "FULL",
        "recvWindow": "3000",
    }


@pytest.mark.parametrize(
    ("kind", "quantity", "quote", "price"),
    [
        (OrderType.MARKET, None, None, None),
        (OrderType.MARKET, D(1), D(1), None),
        (OrderType.MARKET, D(1), None, D(1)),
        (OrderType.MARKET, D(0), None, None),
        (OrderType.MARKET, D(-1), None, None),
        (OrderType.MARKET, D("NaN"), None, None),
        (OrderType.LIMIT, D(1), None, None),
        (OrderType.LIMIT, None, D(1), D(1)),
        (OrderType.LIMIT, D(1), D(1), D(1)),
    ],
)
def test_absurd_orders_are_not_built(
    kind: OrderType, quantity: Decimal | None, quote: Decimal | None, price: Decimal | None
) -> None:
    request = OrderRequest(
        "BTCUSDT", Side.BUY, kind, "ar-3", quantity=quantity, quote_quantity=quote, price=price
    )
    with pytest.raises(ValueError, match=r"order|amount"):
        order_params(request)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1E-8", "0.00000001"),
        ("1E+5", "100000"),
        ("100", "100"),
        ("0.10", "0.1"),
        ("5.000", "5"),
    ],
)
def test_plain_amounts(amount: str, text: str) -> None:
    assert plain(D(amount)) == text
