"""Deleting an ActiveStrategy on the real thing: its orders are cancelled or its position sold."""

from __future__ import annotations

import pytest

from tests.cluster import documents
from tests.cluster.kubectl import Object
from tests.cluster.release import Release, timed
from tests.cluster.waiting import eventually
from tests.e2e.independent import ccxt_at

#: Below it a balance can't be sold (BTCUSDT's quantity step).
_DUST = 0.00001


@pytest.mark.parametrize(
    ("on_delete", "cascade"),
    [
        ("closePositions", "background"),
        ("cancelOrders", "background"),
        # As Argo CD does it: what belongs to a resource is deleted before the resource is gone.
        ("closePositions", "foreground"),
    ],
)
def test_what_it_holds_is_dealt_with_once(release: Release, on_delete: str, cascade: str) -> None:
    broker = f"end-{on_delete.lower()}-{cascade}"
    name = f"{broker}-btc"
    release.kubectl.apply(
        documents.broker(broker, "strategy")
        + documents.strategy(f"{broker}-eager")
        + documents.active(name, f"{broker}-eager", broker, on_delete)
    )
    release.ready("activestrategy", name)
    # They go with the broker, and are needed to see what became of its account.
    keys = release.kubectl.secret(f"{broker}-simulator")

    def protected() -> float | None:
        _, resting, held = _account(release, keys)
        return held if len(resting) == 2 else None

    bought = eventually(protected, seconds=60, what="a position with stop and target")
    watch = timed()
    # Both at once: the broker has to wait for what its strategy still needs it for.
    how = f"--cascade={cascade}"
    release.kubectl.run("delete", "broker", broker, how, "--wait=false")
    release.kubectl.run("delete", "activestrategy", name, how, "--timeout=100s", seconds=110)
    print(f"\n{on_delete}, {cascade}: wound down after {watch.seconds:.1f} s")

    sold, resting, held = _account(release, keys)
    assert resting == []
    if on_delete == "closePositions":
        assert [order["filled"] for order in sold] == [pytest.approx(bought, abs=_DUST)]
        assert held < _DUST
    else:
        assert sold == []
        assert held == bought
    left = (("broker", broker), ("deployment", f"runner-{name}"), ("secret", f"runner-{name}"))

    def is_gone() -> bool:
        return all(release.kubectl.get(kind, each) is None for kind, each in left)

    # The cluster's garbage collector does it, and may have other work.
    eventually(is_gone, seconds=180, what="broker and runner being gone")


def _account(release: Release, keys: dict[str, str]) -> tuple[list[Object], list[Object], float]:
    """The sales that were filled, what is open, and the BTC held, as the exchange has them."""
    with release.simulator() as url:
        exchange = ccxt_at(url, keys)
        sold = [
            order
            for order in exchange.fetch_orders("BTC/USDT")
            if order["side"] == "sell" and order["status"] == "closed" and order["filled"]
        ]
        resting = exchange.fetch_open_orders("BTC/USDT")
        held: float = exchange.fetch_balance()["total"].get("BTC", 0.0)
    return sold, resting, held
