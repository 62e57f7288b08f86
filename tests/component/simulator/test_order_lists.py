"""Order lists in Binance's dialect: answers, look-ups, limits, the user stream, faults, a crash."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.component.simulator.conftest import Venue
from tests.component.simulator.test_durability import _process
from tests.component.simulator.test_user_stream import Stream, opened

OCO = "/api/v3/orderList/oco"
LEGS = ("stop", "target")
PAIR = {
    "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1",
    "aboveType": "LIMIT_MAKER", "abovePrice": "110000",
    "belowType": "STOP_LOSS", "belowStopPrice": "90000",
}  # fmt: skip


def named(name: str = "1", **changes: str) -> dict[str, str]:
    ids = {
        "listClientOrderId": f"list-{name}",
        "aboveClientOrderId": f"target-{name}",
        "belowClientOrderId": f"stop-{name}",
    }
    return {key: value for key, value in {**PAIR, **ids, **changes}.items() if value}


async def placed(venue: Venue, name: str = "1", **changes: str) -> Any:
    answer = await venue.signed("POST", OCO, **named(name, **changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def order(venue: Venue, client_id: str) -> Any:
    answer = await venue.signed(
        "GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId=client_id
    )
    return answer.json()


async def test_the_answer_and_the_look_ups(venue: Venue) -> None:
    made = await placed(venue, newOrderRespType="RESULT")
    assert (made["contingencyType"], made["listOrderStatus"]) == ("OCO", "EXECUTING")
    assert [leg["clientOrderId"] for leg in made["orders"]] == ["stop-1", "target-1"]
    stop, target = made["orderReports"]
    assert (stop["type"], stop["stopPrice"], stop["workingTime"]) == (
        "STOP_LOSS",
        "90000.00000000",
        -1,
    )
    assert (target["type"], target["price"]) == ("LIMIT_MAKER", "110000.00000000")
    assert target["workingTime"] == target["transactTime"]
    waiting, resting = await order(venue, "stop-1"), await order(venue, "target-1")
    assert (waiting["isWorking"], resting["isWorking"]) == (False, True)
    assert waiting["orderListId"] == resting["orderListId"] == made["orderListId"]
    shown = (await venue.signed("GET", "/api/v3/openOrders", symbol="BTCUSDT")).json()
    assert {row["clientOrderId"]: row["stopPrice"] for row in shown} == {
        "stop-1": "90000.00000000",
        "target-1": "0.00000000",
    }
    by_id = await venue.signed("GET", "/api/v3/orderList", orderListId=made["orderListId"])
    by_name = await venue.signed("GET", "/api/v3/orderList", origClientOrderId="list-1")
    assert by_id.json() == by_name.json()
    assert (await venue.signed("GET", "/api/v3/openOrderList")).json() == [by_id.json()]
    account = (await venue.signed("GET", "/api/v3/account")).json()
    assert {"asset": "BTC", "free": "0.90000000", "locked": "0.10000000"} in account["balances"]
    info = (await venue.http.get("/api/v3/exchangeInfo?symbol=BTCUSDT")).json()["symbols"][0]
    assert info["ocoAllowed"] is True
    assert {"STOP_LOSS", "TAKE_PROFIT_LIMIT", "LIMIT_MAKER"} <= set(info["orderTypes"])


_REFUSED_LISTS: list[tuple[dict[str, str], int, str]] = [
    ({"quantity": ""}, -1102, "'quantity'"),
    ({"aboveType": ""}, -1102, "'aboveType'"),
    ({"belowType": "LIMIT"}, -1130, "'belowType'"),
    ({"aboveType": "STOP_LOSS"}, -1130, "'aboveType'"),
    ({"belowType": "STOP_LOSS_LIMIT", "belowPrice": "89000"}, -1102, "'belowTimeInForce'"),
    ({"belowPrice": "89000"}, -1106, "'belowPrice'"),
    ({"belowStopPrice": ""}, -1102, "'belowStopPrice'"),
    ({"aboveTimeInForce": "GTC"}, -1106, "'aboveTimeInForce'"),
    ({"belowTrailingDelta": "100"}, -2010, "not supported"),
    ({"side": "BUY"}, -1130, "'aboveType'"),
    ({"belowStopPrice": "100000"}, -2010, "The relationship of the prices"),
    ({"abovePrice": "99999"}, -2010, "The relationship of the prices"),
    ({"belowStopPrice": "90000.001"}, -1013, "PRICE_FILTER"),
    ({"quantity": "0.00001"}, -1013, "NOTIONAL"),
    ({"quantity": "1.5"}, -2010, "insufficient balance"),
]


async def test_refused_lists(venue: Venue) -> None:
    for changes, code, text in _REFUSED_LISTS:
        answer = await venue.signed("POST", OCO, **named(**changes))
        assert answer.status_code == 400, (changes, answer.text)
        assert answer.json()["code"] == code, (changes, answer.text)
        assert text in answer.json()["msg"], (changes, answer.text)
    assert await venue.orders() == []


async def test_cancelling_the_list_or_a_leg(venue: Venue) -> None:
    made = await placed(venue)
    absent = await venue.signed("DELETE", "/api/v3/orderList", symbol="BTCUSDT", orderListId=99)
    assert absent.json() == {"code": -2011, "msg": "Unknown order list sent."}
    unknown = await venue.signed("GET", "/api/v3/orderList", orderListId=99)
    assert unknown.json() == {"code": -2013, "msg": "Order list does not exist."}
    whole = {"symbol": "BTCUSDT", "listClientOrderId": "list-1", "newClientOrderId": "c-1"}
    first = (await venue.signed("DELETE", "/api/v3/orderList", **whole)).json()
    assert first["orderListId"] == made["orderListId"]
    assert first["listOrderStatus"] == "ALL_DONE"
    leg = {"symbol": "BTCUSDT", "origClientOrderId": "target-2", "newClientOrderId": "c-2"}
    await placed(venue, "2")
    second = (await venue.signed("DELETE", "/api/v3/order", **leg)).json()
    for number, answer in (("1", first), ("2", second)):
        assert [
            (report["origClientOrderId"], report["clientOrderId"], report["status"])
            for report in answer["orderReports"]
        ] == [
            (f"stop-{number}", f"c-{number}", "CANCELED"),
            (f"target-{number}", f"c-{number}", "CANCELED"),
        ]
    assert (await venue.signed("DELETE", "/api/v3/order", **leg)).json()["code"] == -2011
    assert (await venue.signed("DELETE", "/api/v3/orderList", **whole)).json()["code"] == -2011
    await placed(venue, "3")
    await venue.limit("80000", "0.001", newClientOrderId="alone")
    answer = (await venue.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")).json()
    assert answer[0]["origClientOrderId"] == "alone"
    assert answer[1]["listClientOrderId"] == "list-3"
    assert len(answer) == 2
    assert (await venue.signed("GET", "/api/v3/openOrderList")).json() == []
    everything = (await venue.signed("GET", "/api/v3/allOrderList")).json()
    assert [row["listClientOrderId"] for row in everything] == ["list-1", "list-2", "list-3"]
    from_second = await venue.signed("GET", "/api/v3/allOrderList", fromId=2, limit=1)
    assert [row["orderListId"] for row in from_second.json()] == [2]


async def test_a_list_counts_as_two_orders(venue: Venue) -> None:
    answer = await venue.signed("POST", OCO, **named())
    assert answer.headers["x-mbx-order-count-10s"] == "2"
    for _ in range(3):  # both must fall into one window of ten seconds; twice in a row they do
        await venue.control("PUT", "/limits", {"orders_per_10_seconds": 3})
        first = await venue.signed("POST", OCO, **named("a"))
        second = await venue.signed("POST", OCO, **named("b"))
        await venue.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
        assert first.status_code == 200
        if second.status_code == 429:
            break
    assert second.json()["code"] == -1015


async def test_at_most_five_may_wait_in_a_pair(venue: Venue) -> None:
    for number in range(5):
        await placed(venue, str(number))
    answer = await venue.signed("POST", OCO, **named("5"))
    assert answer.json() == {"code": -1013, "msg": "Filter failure: MAX_NUM_ALGO_ORDERS"}
    assert (await venue.limit("110000", "0.1", side="SELL")).status_code == 200


async def _reports(stream: Stream, count: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    while len(found) < count:
        event = (await stream.receive())["event"]
        if event["e"] == "executionReport":
            found.append((event["c"], event["x"], event["X"], event["w"]))
        elif event["e"] == "listStatus":
            found.append((event["C"], event["l"], event["L"]))
    return found


async def test_the_user_stream_of_a_triggered_stop(venue: Venue) -> None:
    async with opened(venue) as stream:
        await stream.subscribe()
        made = await placed(venue)
        status = (await stream.receive())["event"]
        assert (status["e"], status["g"], status["c"]) == ("listStatus", made["orderListId"], "OCO")
        assert [(leg["i"], leg["c"]) for leg in status["O"]] == [
            (leg["orderId"], leg["clientOrderId"]) for leg in made["orders"]
        ]
        stop = (await stream.receive())["event"]
        assert (stop["P"], stop["g"], stop["o"]) == ("90000.00000000", status["g"], "STOP_LOSS")
        assert (stop["w"], "W" in stop) == (False, False)
        assert await _reports(stream, 1) == [("target-1", "NEW", "NEW", True)]
        await venue.price("89000")
        assert await _reports(stream, 4) == [
            ("target-1", "EXPIRED", "EXPIRED", False),
            ("list-1", "ALL_DONE", "ALL_DONE"),
            ("stop-1", "NEW", "NEW", True),
            ("stop-1", "TRADE", "FILLED", False),
        ]
        position = (await stream.receive())["event"]
        assert {row["a"]: row["l"] for row in position["B"]} == {
            "BTC": "0.00000000",
            "USDT": "0.00000000",
        }
        await venue.price("100000")
        await placed(venue, "2")
        await venue.signed(
            "DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="stop-2",
            newClientOrderId="c",
        )  # fmt: skip
        assert (await _reports(stream, 6))[3:] == [
            ("list-2", "ALL_DONE", "ALL_DONE"),
            ("c", "CANCELED", "CANCELED", False),
            ("c", "CANCELED", "CANCELED", False),
        ]


@pytest.mark.parametrize("winner", ["stop", "target"])
async def test_the_loser_expires_because_of_the_other(venue: Venue, winner: str) -> None:
    await placed(venue)
    await venue.price("89000" if winner == "stop" else "111000")
    loser = "target" if winner == "stop" else "stop"
    won, lost = await order(venue, f"{winner}-1"), await order(venue, f"{loser}-1")
    assert (won["status"], won["executedQty"]) == ("FILLED", "0.10000000")
    assert (lost["status"], lost["expiryReason"]) == ("EXPIRED", "OCO_TRIGGER")
    done = (await venue.signed("GET", "/api/v3/orderList", origClientOrderId="list-1")).json()
    assert (done["listStatusType"], done["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")


async def test_faults_of_the_list_s_endpoint(venue: Venue) -> None:
    path = f"POST {OCO}"
    await venue.fault("answer_lost", path=path)
    with pytest.raises(httpx.TransportError):
        await placed(venue)
    assert (await order(venue, "stop-1"))["status"] == "NEW"
    again = await venue.signed("POST", OCO, **named())
    assert again.json() == {"code": -2010, "msg": "Duplicate order sent."}
    await venue.fault("error_5xx", path=path, accepted=False)
    assert (await venue.signed("POST", OCO, **named("2"))).status_code == 503
    assert (await order(venue, "stop-2"))["code"] == -2013
    await venue.fault("partial_fill", path=path, fraction="0.5", seconds=0.2)
    await placed(venue, "3")
    await venue.signed("DELETE", "/api/v3/orderList", symbol="BTCUSDT", listClientOrderId="list-1")
    await venue.price("89000")
    assert (await order(venue, "stop-3"))["executedQty"] == "0.05000000"
    assert (await order(venue, "target-3"))["status"] == "EXPIRED"
    async with asyncio.timeout(5):
        while (await order(venue, "stop-3"))["status"] != "FILLED":
            await asyncio.sleep(0.05)


async def test_sigkill_keeps_pairs_and_doubles_no_trigger(tmp_path: Path) -> None:
    async with _process(tmp_path) as (venue, process):
        await venue.put_account()
        await venue.price("100000")
        for name in ("won", "lost", "waits"):
            await placed(venue, name, belowStopPrice="80000" if name == "waits" else "90000")
        await venue.signed(
            "DELETE", "/api/v3/orderList", symbol="BTCUSDT", listClientOrderId="list-lost"
        )
        await venue.price("89000")
        before = await venue.orders()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with _process(tmp_path) as (venue, _):
        assert await venue.orders() == before
        waiting = await order(venue, "stop-waits")
        assert (waiting["status"], waiting["isWorking"]) == ("NEW", False)
        shown = (await venue.signed("GET", "/api/v3/openOrderList")).json()
        assert [row["listClientOrderId"] for row in shown] == ["list-waits"]
        assert (await venue.put_account())["balances"]["BTC"] == {"free": "0.8", "locked": "0.1"}
        await venue.price("79000")
        after = {row["client_id"]: row for row in await venue.orders()}
        assert (after["stop-waits"]["status"], after["target-waits"]["status"]) == (
            "filled",
            "expired",
        )
        trades = (await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT")).json()
        assert len(trades) == 2  # one for each triggered stop
        await venue.price("100000")
        assert (await placed(venue, "next"))["orderListId"] == 4


async def test_sigkill_while_pairs_are_placed_and_triggered(tmp_path: Path) -> None:
    answered: set[str] = set()

    async def trade(venue: Venue, prefix: str) -> None:
        for number in range(10_000):
            name = f"{prefix}-{number}"
            answer = await venue.signed("POST", OCO, **named(name, quantity="0.001"))
            # The price may be elsewhere at this moment, or five pairs may wait already.
            assert answer.status_code == 200 or answer.json()["code"] in (-1013, -2010), answer.text
            if answer.status_code == 200:
                answered.add(name)

    async def move(venue: Venue) -> None:
        for number in range(10_000):
            await venue.price(("100000", "111500", "100000", "89000")[number % 4])

    for round_number in range(2):
        async with _process(tmp_path) as (venue, process):
            await venue.put_account()
            tasks = [asyncio.create_task(trade(venue, f"r{round_number}t{n}")) for n in range(2)]
            tasks.append(asyncio.create_task(move(venue)))
            async with asyncio.timeout(20):
                while len(answered) < 20 * (round_number + 1):
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, httpx.TransportError) for result in results), results
    async with _process(tmp_path) as (venue, _):
        orders = {row["client_id"]: row for row in await venue.orders()}
        account = await venue.put_account()
        trades = [
            trade
            for row in orders.values()
            for trade in (
                await venue.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=row["id"])
            ).json()
        ]
    names = {client_id.partition("-")[2] for client_id in orders}
    assert answered <= names
    ends = {("filled", "expired"), ("expired", "filled")}
    states = {name: tuple(orders[f"{leg}-{name}"]["status"] for leg in LEGS) for name in names}
    assert set(states.values()) <= {*ends, ("new", "new")}, states
    sold = sum(state in ends for state in states.values())
    assert len(trades) == sold  # each pair sold once
    assert sold >= 2 * 20 - 5  # no more than five may wait
    waiting = len(names) - sold
    balances = {key: float(value) for key, value in account["balances"]["BTC"].items()}
    assert balances["locked"] == pytest.approx(0.001 * waiting)
    assert balances["free"] == pytest.approx(1 - 0.001 * (sold + waiting))
