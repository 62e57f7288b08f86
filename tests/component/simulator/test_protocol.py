"""Binance's dialect on the wire: parameters, error codes, limits, reading back."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from tests.component.simulator.conftest import KEY, Venue

LIMIT = {
    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
    "quantity": "0.01", "price": "90000",
}  # fmt: skip
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
#: Longer than a dozen requests take, also on a busy machine.
_ROOM_SECONDS = 3.0


def _without(params: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in params.items() if key != name}


STOP = {
    "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.01",
    "stopPrice": "90000",
}  # fmt: skip
_REFUSED_ORDERS: list[tuple[dict[str, str], int, str]] = [
        (_without(LIMIT, "symbol"), -1102, "'symbol'"),
        (_without(LIMIT, "side"), -1102, "'side'"),
        (_without(LIMIT, "type"), -1102, "'type'"),
        (_without(LIMIT, "timeInForce"), -1102, "'timeInForce'"),
        (_without(LIMIT, "price"), -1102, "'price'"),
        (_without(MARKET, "quantity"), -1102, "'quantity' or 'quoteOrderQty'"),
        ({**MARKET, "quantity": ""}, -1102, "'quantity' or 'quoteOrderQty'"),
        ({**MARKET, "quoteOrderQty": "5"}, -1106, "quoteOrderQty"),
        ({**MARKET, "price": "5"}, -1106, "price"),
        ({**MARKET, "quantity": "1e2"}, -1100, "quantity"),
        ({**MARKET, "quantity": "-1"}, -1100, "quantity"),
        ({**MARKET, "quantity": "NaN"}, -1100, "quantity"),
        ({**MARKET, "symbol": "btcusdt"}, -1100, "symbol"),
        ({**MARKET, "newClientOrderId": "a b"}, -1100, "newClientOrderId"),
        ({**MARKET, "newClientOrderId": "x" * 37}, -1100, "newClientOrderId"),
        ({**MARKET, "quantity": "0.123456789"}, -1111, "precision"),
        ({**MARKET, "symbol": "ABCUSDT"}, -1121, "Invalid symbol."),
        ({**MARKET, "side": "HOLD"}, -1117, "side"),
        ({**MARKET, "type": "MAYBE"}, -1116, "orderType"),
        ({**LIMIT, "timeInForce": "GTX"}, -1115, "timeInForce"),
        ({**MARKET, "newOrderRespType": "ALL"}, -1130, "newOrderRespType"),
        ({**MARKET, "type": "STOP_LOSS"}, -1102, "'stopPrice'"),
        ({**MARKET, "stopPrice": "90000"}, -1106, "stopPrice"),
        ({**STOP, "price": "90000"}, -1106, "price"),
        ({**STOP, "quoteOrderQty": "100"}, -1106, "quoteOrderQty"),
        ({**STOP, "type": "STOP_LOSS_LIMIT"}, -1102, "'price'"),
        ({**STOP, "trailingDelta": "100"}, -2010, "not supported"),
        ({**STOP, "stopPrice": "90000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({**STOP, "quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({**STOP, "stopPrice": "100000"}, -2010, "Order would trigger immediately."),
        ({**STOP, "side": "BUY"}, -2010, "Order would trigger immediately."),
        ({**STOP, "type": "TAKE_PROFIT"}, -2010, "Order would trigger immediately."),
        ({**STOP, "quantity": "1.1"}, -2010, "insufficient balance"),
        ({**MARKET, "quantity": "0"}, -1013, "Invalid quantity."),
        ({**MARKET, "quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({**MARKET, "quantity": "0.000011"}, -1013, "Filter failure: LOT_SIZE"),
        ({**MARKET, "quantity": "500"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({**LIMIT, "price": "90000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({**LIMIT, "price": "1"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({**LIMIT, "quantity": "1"}, -2010, "insufficient balance"),
        ({**_without(LIMIT, "timeInForce"), "type": "LIMIT_MAKER", "price": "100100"}, -2010,
         "Order would immediately match and take."),
        ({**MARKET, "recvWindow": "60001"}, -1131, "recvWindow"),
]  # fmt: skip


async def test_refused_orders(venue: Venue) -> None:
    for params, code, text in _REFUSED_ORDERS:
        for path in ("/api/v3/order", "/api/v3/order/test"):
            answer = await venue.signed("POST", path, **params)
            assert answer.status_code == 400, (params, answer.text)
            assert answer.json()["code"] == code, (params, answer.text)
            assert text in answer.json()["msg"], params
    assert await venue.orders() == []


async def test_authentication(venue: Venue) -> None:
    async def code(**more: Any) -> tuple[int, int]:
        answer = await venue.signed("GET", "/api/v3/account", **more)
        return answer.status_code, answer.json()["code"]

    now = int(time.time() * 1000)
    assert await code(key="") == (401, -2014)
    assert await code(key="nobody") == (401, -2015)
    assert await code(secret="wrong") == (400, -1022)
    assert await code(timestamp=now - 6000) == (400, -1021)
    assert await code(timestamp=now + 5000) == (400, -1021)
    unsigned = await venue.http.get("/api/v3/account", headers={"X-MBX-APIKEY": KEY})
    assert unsigned.json()["code"] == -1102


async def test_unknown_parameters_and_a_form_body_are_fine(venue: Venue) -> None:
    answer = await venue.order(**MARKET, somethingNew="1", newClientOrderId="q-1")
    assert answer.status_code == 200
    fills = answer.json()["fills"]
    assert answer.json()["status"] == "FILLED"
    assert fills[0]["commission"] == "0.00001000"
    assert fills[0]["commissionAsset"] == "BTC"
    assert answer.json()["cummulativeQuoteQty"] == "1000.05000000"


async def test_answer_types(venue: Venue) -> None:
    ack = (await venue.order(**MARKET, newOrderRespType="ACK")).json()
    assert "status" not in ack
    assert ack["transactTime"] > 0
    result = (await venue.order(**MARKET, newOrderRespType="RESULT")).json()
    assert result["status"] == "FILLED"
    assert "fills" not in result


async def test_client_ids(venue: Venue) -> None:
    first = (await venue.order(**LIMIT, newClientOrderId="same")).json()
    again = await venue.order(**LIMIT, newClientOrderId="same")
    assert again.json() == {"code": -2010, "msg": "Duplicate order sent."}
    cancel = await venue.signed(
        "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="same"
    )
    assert cancel.json()["status"] == "CANCELED"
    assert cancel.json()["origClientOrderId"] == "same"
    assert cancel.json()["clientOrderId"] not in ("", "same")
    second = (await venue.order(**LIMIT, newClientOrderId="same")).json()
    found = await venue.signed("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="same")
    assert found.json()["orderId"] == second["orderId"] != first["orderId"]
    wrong = await venue.signed(
        "GET", "/api/v3/order", symbol="BTCUSDT", orderId=first["orderId"], origClientOrderId="x"
    )
    assert wrong.json()["code"] == -2039
    elsewhere = await venue.signed(
        "GET", "/api/v3/order", symbol="ETHUSDT", origClientOrderId="same"
    )
    assert elsewhere.json()["code"] == -2013


async def test_cancelling_what_is_not_open(venue: Venue) -> None:
    filled = (await venue.order(**MARKET)).json()
    for ids in ({"orderId": filled["orderId"]}, {"origClientOrderId": "never"}):
        answer = await venue.signed("DELETE", "/api/v3/order", symbol="BTCUSDT", **ids)
        assert answer.json() == {"code": -2011, "msg": "Unknown order sent."}
    nothing = await venue.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert nothing.json()["code"] == -2011
    await venue.order(**LIMIT)
    both = await venue.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
    assert [order["status"] for order in both.json()] == ["CANCELED"]


async def test_orders_and_trades_of_another_account_are_not_seen(venue: Venue) -> None:
    mine = (await venue.order(**MARKET)).json()
    await venue.put_account("other")
    found = await venue.signed(
        "GET", "/api/v3/order", key="other", symbol="BTCUSDT", orderId=mine["orderId"]
    )
    assert found.json()["code"] == -2013
    trades = await venue.signed("GET", "/api/v3/myTrades", key="other", symbol="BTCUSDT")
    assert trades.json() == []


async def test_lists_page_by_id(venue: Venue) -> None:
    ids = [(await venue.order(**MARKET)).json()["orderId"] for _ in range(5)]
    page = await venue.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT", orderId=ids[1], limit=2)
    assert [order["orderId"] for order in page.json()] == ids[1:3]
    newest = await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", limit=2)
    assert [trade["orderId"] for trade in newest.json()] == ids[3:]
    one = await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=ids[2])
    assert [trade["orderId"] for trade in one.json()] == [ids[2]]


async def _within(window_seconds: int) -> None:
    """Until a window of the limits, which follow the clock, won't end in the middle of a test."""
    left = window_seconds - time.time() % window_seconds
    if left < _ROOM_SECONDS:
        await asyncio.sleep(left)


async def test_weights_and_order_counts_are_told(venue: Venue) -> None:
    await _within(10)
    public = await venue.http.get("/api/v3/ping")
    before = int(public.headers["X-MBX-USED-WEIGHT-1M"])
    placed = await venue.order(**LIMIT)
    assert int(placed.headers["X-MBX-USED-WEIGHT-1M"]) == before
    assert placed.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    filled = await venue.order(**MARKET)
    assert filled.headers["X-MBX-ORDER-COUNT-10S"] == "1"  # a filled order no longer counts
    refused = await venue.order(**{**MARKET, "symbol": "ABCUSDT"})
    assert int(refused.headers["X-MBX-USED-WEIGHT-1M"]) == before + 1
    rates = (await venue.signed("GET", "/api/v3/rateLimit/order")).json()
    assert [row["count"] for row in rates] == [1, 1]


async def test_the_weight_limit_refuses_then_bans(venue: Venue) -> None:
    await _within(60)
    await venue.control("PUT", "/limits", {"weight_per_minute": 3, "ignored_429s": 2})
    statuses = []
    for _ in range(7):
        answer = await venue.http.get("/api/v3/ping")
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            assert answer.json()["code"] == -1003
            assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert statuses == [200, 200, 200, 429, 429, 418, 418]
    assert (await venue.order(**MARKET)).status_code == 418
    await venue.control("PUT", "/limits", {"weight_per_minute": 6000})
    assert (await venue.http.get("/api/v3/ping")).status_code == 200


async def test_the_order_limit_refuses(venue: Venue) -> None:
    await venue.control("PUT", "/limits", {"orders_per_day": 2})
    info = (await venue.http.get("/api/v3/exchangeInfo")).json()
    limits = {(row["rateLimitType"], row["interval"]): row["limit"] for row in info["rateLimits"]}
    assert limits[("ORDERS", "DAY")] == 2
    statuses = [(await venue.order(**LIMIT)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await venue.order(**LIMIT)).json()["code"] == -1015
    assert len(await venue.orders()) == 2


async def test_public_endpoints(venue: Venue) -> None:
    get = venue.http.get
    two = await get("/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22,%22ETHUSDT%22%5D")
    assert [row["symbol"] for row in two.json()] == ["BTCUSDT", "ETHUSDT"]
    one = await get("/api/v3/exchangeInfo?symbol=DOGEUSDT")
    filters = {row["filterType"] for row in one.json()["symbols"][0]["filters"]}
    assert {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL"} <= filters
    for interval in ("1m", "15m", "4h", "1d", "1w", "1M"):
        rows = (await get(f"/api/v3/klines?symbol=BTCUSDT&interval={interval}&limit=5")).json()
        assert len(rows) == 5
        for row, following in itertools.pairwise(rows):
            assert row[6] == following[0] - 1
    start = rows[1][0]
    ranged = await get(f"/api/v3/klines?symbol=BTCUSDT&interval=1M&startTime={start}&limit=2")
    assert [row[0] for row in ranged.json()] == [rows[1][0], rows[2][0]]
    assert (await get("/api/v3/klines?symbol=BTCUSDT&interval=10m")).json()["code"] == -1120
    assert (await get("/api/v3/ticker/24hr?symbol=BTCUSDT")).json()["lastPrice"] == (
        "100000.00000000"
    )
    assert len((await get("/api/v3/ticker/24hr")).json()) == 7
    assert len((await get("/api/v3/depth?symbol=ADAUSDT&limit=5")).json()["bids"]) == 5
    assert (await get("/api/v3/avgPrice?symbol=BTCUSDT")).json()["mins"] == 5
    assert (await get("/api/v3/trades?symbol=BTCUSDT&limit=1")).status_code == 200
    assert (await get("/api/v3/nothing")).status_code == 404
    gone = await venue.http.post("/api/v3/userDataStream")
    assert gone.status_code == 410


async def test_commission_and_account(venue: Venue) -> None:
    await venue.order(**LIMIT)
    account = (await venue.signed("GET", "/api/v3/account", omitZeroBalances="true")).json()
    balances = {row["asset"]: (row["free"], row["locked"]) for row in account["balances"]}
    assert balances == {
        "USDT": ("9100.00000000", "900.00000000"),
        "BTC": ("1.00000000", "0.00000000"),
    }
    fees = (await venue.signed("GET", "/api/v3/account/commission", symbol="BTCUSDT")).json()
    assert fees["standardCommission"]["taker"] == "0.00100000"


_WRONG_BODIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/faults", {"kind": "earthquake"}, "kind"),
    ("POST", "/faults", {"kind": "delay"}, "needs seconds"),
    ("POST", "/faults", {"kind": "delay", "seconds": -1}, "negative"),
    ("POST", "/faults", {"kind": "ban", "times": 0}, "times"),
    ("POST", "/faults", {"kind": "ban", "probability": 2}, "probability"),
    ("POST", "/faults", {"kind": "ban", "path": "nonsense"}, "path"),
    ("POST", "/faults", {"kind": "ban", "surprise": 1}, "surprise"),
    ("POST", "/price", {"symbol": "BTCUSDT"}, "Give a price"),
    ("POST", "/price", {"symbol": "ABC", "price": "1"}, "lists no"),
    ("POST", "/price", {"symbol": "BTCUSDT", "price": "0.001"}, "multiple of"),
    ("POST", "/price", {"symbol": "BTCUSDT", "price": "1e30"}, "multiple of"),
    ("PUT", "/accounts/x", {"secret": ""}, "secret"),
    ("PUT", "/accounts/x", {"secret": "s", "balances": {"GOLD": "1"}}, "no asset"),
    ("PUT", "/accounts/x", {"secret": "s", "balances": {"BTC": "-1"}}, "BTC"),
    ("PUT", "/limits", {"orders_per_day": 0}, "orders_per_day"),
]


async def test_control_says_what_is_wrong(venue: Venue) -> None:
    for method, path, body, text in _WRONG_BODIES:
        answer = await venue.http.request(method, f"/control{path}", json=body)
        assert answer.status_code == 400, body
        assert text in answer.json()["error"], body


async def test_control_is_idempotent_about_accounts(venue: Venue) -> None:
    await venue.order(**MARKET)
    again = await venue.put_account(USDT="5")
    assert again["orders"] == 1
    assert again["balances"]["USDT"]["free"] != "5"
    body = {"secret": "new", "balances": {"USDT": "5"}, "reset": True}
    fresh = await venue.control("PUT", f"/accounts/{KEY}", body)
    assert fresh["balances"]["USDT"] == {"free": "5", "locked": "0"}
    assert (await venue.http.get("/control/accounts/nobody")).status_code == 404
    answer = await venue.http.put("/control/accounts/x", content=b"{not json")
    assert answer.json() == {"error": "The body is not JSON."}
