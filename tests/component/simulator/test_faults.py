"""Each fault does what it says: to the client's answer, and to the order behind it."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tests.component.simulator.conftest import Venue


async def _status(venue: Venue, client_id: str) -> str:
    answer = await venue.signed(
        "GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId=client_id
    )
    return str(answer.json().get("status", answer.json().get("code")))


async def _settle(venue: Venue, client_id: str, wanted: str, seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while (status := await _status(venue, client_id)) != wanted:
        assert time.monotonic() < deadline, f"{client_id} is {status}, not {wanted}"
        await asyncio.sleep(0.05)


async def test_answer_lost(venue: Venue) -> None:
    await venue.fault("answer_lost")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await venue.buy(newClientOrderId="lost-1")
    assert await _status(venue, "lost-1") == "FILLED"
    assert (await venue.buy()).status_code == 200
    assert await venue.control("GET", "/faults") == []


async def test_a_refused_order_does_not_use_up_a_lost_answer(venue: Venue) -> None:
    await venue.fault("answer_lost")
    assert (await venue.buy(quoteOrderQty="1")).json()["code"] == -1013
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await venue.buy()


@pytest.mark.parametrize(("accepted", "found"), [(True, "FILLED"), (False, "-2013")])
@pytest.mark.parametrize("status", [500, 503])
async def test_error_5xx(venue: Venue, accepted: bool, found: str, status: int) -> None:
    await venue.fault("error_5xx", accepted=accepted, status=status)
    answer = await venue.buy(newClientOrderId="e-1")
    assert answer.status_code == status
    assert answer.json()["code"] < 0
    assert await _status(venue, "e-1") == found


@pytest.mark.parametrize(("kind", "status"), [("rate_limit", 429), ("ban", 418)])
async def test_refused_with_retry_after(venue: Venue, kind: str, status: int) -> None:
    await venue.fault(kind, seconds=7, times=2)
    for _ in range(2):
        answer = await venue.buy(newClientOrderId="r-1")
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
        assert answer.json()["code"] == -1003
    assert await _status(venue, "r-1") == "-2013"
    assert (await venue.buy(newClientOrderId="r-1")).status_code == 200


async def test_partial_fill_and_the_rest_later(venue: Venue) -> None:
    await venue.fault("partial_fill", fraction="0.25", seconds=0.3)
    answer = (await venue.buy(quantity="0.01", newClientOrderId="p-1")).json()
    assert (answer["status"], answer["executedQty"]) == ("PARTIALLY_FILLED", "0.00250000")
    assert len(answer["fills"]) == 1
    await _settle(venue, "p-1", "FILLED")
    trades = (await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")).json()
    assert [trade["qty"] for trade in trades] == ["0.00250000", "0.00750000"]


async def test_partial_fill_and_the_rest_expires(venue: Venue) -> None:
    await venue.fault("partial_fill", fraction="0.25", seconds=0.3, rest="expire")
    await venue.buy(quantity="0.01", newClientOrderId="p-2")
    await _settle(venue, "p-2", "EXPIRED")
    (order,) = await venue.orders()
    assert order["executed"] == "0.0025"
    account = (await venue.signed("GET", "/api/v3/account")).json()
    usdt = next(row for row in account["balances"] if row["asset"] == "USDT")
    assert usdt["locked"] == "0.00000000"
    assert usdt["free"] == "9749.98750000"


async def test_late_fill(venue: Venue) -> None:
    await venue.fault("late_fill", seconds=0.3)
    answer = (await venue.buy(newClientOrderId="l-1")).json()
    assert (answer["status"], answer["fills"]) == ("NEW", [])
    await venue.price("100500")  # what was agreed stays: it fills at the price it met
    await _settle(venue, "l-1", "FILLED")
    trades = (await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")).json()
    assert trades[0]["price"] == "100005.00000000"


async def test_late_fill_can_be_cancelled(venue: Venue) -> None:
    await venue.fault("late_fill", seconds=30)
    await venue.buy(newClientOrderId="l-2")
    cancelled = await venue.signed(
        "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="l-2"
    )
    assert cancelled.json()["status"] == "CANCELED"


async def test_clock_skew(venue: Venue) -> None:
    fault = await venue.fault("clock_skew", seconds=-30)
    server = (await venue.http.get("/api/v3/time")).json()["serverTime"]
    assert -32_000 < server - time.time() * 1000 < -28_000
    assert (await venue.buy()).json()["code"] == -1021
    placed = await venue.buy(timestamp=server)
    assert abs(placed.json()["transactTime"] - server) < 2_000
    await venue.control("DELETE", f"/faults/{fault['id']}")
    assert (await venue.buy()).status_code == 200


async def test_a_delay_beyond_the_window_is_refused_and_not_placed(venue: Venue) -> None:
    await venue.fault("delay", seconds=0.4)
    answer = await venue.buy(newClientOrderId="d-1", recvWindow="200")
    assert answer.json()["code"] == -1021
    assert await _status(venue, "d-1") == "-2013"
    await venue.fault("delay", seconds=0.4)
    started = time.monotonic()
    assert (await venue.buy(newClientOrderId="d-2")).status_code == 200
    assert time.monotonic() - started >= 0.4


async def test_a_delayed_order_is_placed_though_its_client_hung_up(venue: Venue) -> None:
    await venue.fault("delay", seconds=0.4)
    venue.http.timeout = 0.1
    with pytest.raises(httpx.ReadTimeout):
        await venue.buy(newClientOrderId="d-3")
    venue.http.timeout = 5
    assert await _status(venue, "d-3") == "-2013"
    await _settle(venue, "d-3", "FILLED")


async def test_slow_answer_is_accepted_at_once(venue: Venue) -> None:
    await venue.fault("slow_answer", seconds=0.5)
    answer = asyncio.create_task(venue.buy(newClientOrderId="s-1"))
    await _settle(venue, "s-1", "FILLED", seconds=0.4)
    assert not answer.done()
    assert (await answer).json()["status"] == "FILLED"


async def test_filters_by_path_key_and_probability(venue: Venue) -> None:
    await venue.fault("error_5xx", path="GET /api/v3/account")
    assert (await venue.buy()).status_code == 200
    assert (await venue.signed("GET", "/api/v3/account")).status_code == 503
    await venue.put_account("other")
    await venue.fault("error_5xx", api_key="other", times=None)
    assert (await venue.buy()).status_code == 200
    assert (await venue.buy(key="other")).status_code == 503
    assert (await venue.buy(key="other")).status_code == 503
    await venue.control("DELETE", "/faults")
    assert (await venue.buy(key="other")).status_code == 200
    await venue.fault("error_5xx", probability=0.5, times=None, path="GET /api/v3/ping")
    statuses = [(await venue.http.get("/api/v3/ping")).status_code for _ in range(60)]
    assert 10 < statuses.count(503) < 50
    (armed,) = await venue.control("GET", "/faults")
    assert armed["happened"] == statuses.count(503)
