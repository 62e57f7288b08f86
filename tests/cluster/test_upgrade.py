"""`helm upgrade` under load: positions stay, trading goes on, no alert is lost on the way.

There is no released chart before this one, so the upgrade is from this chart to a copy with
another version and other values, which replace every pod: the platform's, gateways, runners. What a
new image would add to that (a migration of the schema) has tests of its own, without a cluster.
"""

from __future__ import annotations

import asyncio
import copy
import re
import shutil
from pathlib import Path

from tests.cluster import documents
from tests.cluster.kubectl import Kubectl
from tests.cluster.release import CHARTS, NAMESPACE, OTHER_OWNER, Release, timed, values
from tests.cluster.storm import Senders, seed_of, seeded
from tests.cluster.waiting import eventually
from tests.fault.scene import fresh

NEXT = "0.9.9"
#: Below it a balance can't be sold (BTCUSDT's quantity step).
_DUST = 0.00001
_PODS = "app.kubernetes.io/name=aristobot"


def _next_chart(folder: Path) -> Path:
    chart = folder / "aristobot"
    shutil.copytree(CHARTS / "aristobot", chart)
    file = chart / "Chart.yaml"
    text, count = re.subn(r"(?m)^version: .*$", f"version: {NEXT}", file.read_text())
    assert count == 1
    file.write_text(text)
    return chart


def _containers(kubectl: Kubectl) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kubectl.pods(_PODS)}


def test_an_upgrade_keeps_positions_and_trades_on(release: Release, tmp_path: Path) -> None:
    seed = seed_of()
    owners = {seeded("upgraded-one", seed): NAMESPACE, seeded("upgraded-two", seed): OTHER_OWNER}
    for name, owner in owners.items():
        release.owner(owner).apply(documents.broker(name))
    release.kubectl.apply(
        documents.broker("kept")
        + documents.broker("kept-strategy", "strategy")
        + documents.strategy("kept-eager")
        + documents.active("kept-btc", "kept-eager", "kept-strategy")
    )
    for name, owner in {**owners, "kept": NAMESPACE}.items():
        release.ready("broker", name, owner)
    release.ready("activestrategy", "kept-btc")
    url = release.webhook_url("kept")
    bought = release.order_of(release.accepted(url, fresh("bought before").body)["id"])
    held = eventually(lambda: _position(release, "kept-strategy"), seconds=60, what="a position")
    senders = Senders(release, owners, seed)
    before = {owner: _containers(release.owner(owner)) for owner in (NAMESPACE, OTHER_OWNER)}

    changed = copy.deepcopy(values())
    changed["logLevel"] = "DEBUG"
    # From now on only we may call: who calls is known through the ingress controller.
    changed["ingress"]["allow"] = release.sources("kept", 1)
    for server in ("nats", "postgres"):
        changed["embedded"][server]["resources"] = {"requests": {"cpu": "11m", "memory": "49Mi"}}
    watch = timed()

    async def upgrade() -> None:
        await senders.open_positions()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(senders.send(60, 60))
            tasks.create_task(asyncio.to_thread(release.install, _next_chart(tmp_path), changed))

    asyncio.run(upgrade())
    print(f"\nupgraded under load within {watch.seconds:.0f} s")

    def all_are_new() -> bool:
        return all(
            _containers(release.owner(owner)).isdisjoint(pods) for owner, pods in before.items()
        )

    eventually(all_are_new, seconds=120, what="every pod being a new one")
    for name, owner in {**owners, "kept": NAMESPACE}.items():
        release.ready("broker", name, owner)
    release.ready("activestrategy", "kept-btc")

    # The URL is the same, and so is what is held; it is sold, once.
    assert release.webhook_url("kept") == url
    sale = fresh("sold after", action="SellMarket", percent="100")
    sold = release.order_of(release.accepted(url, sale.body)["id"])
    with release.ccxt("kept") as exchange:
        orders = [(order["side"], order["id"]) for order in exchange.fetch_orders("BTC/USDT")]
        left = exchange.fetch_balance()["total"].get("BTC", 0.0)
    assert orders == [(each["side"], each["exchange_order_id"]) for each in (bought, sold)]
    assert left < _DUST
    assert _position(release, "kept-strategy") == held
    senders.assert_nothing_lost_or_doubled()


def _position(release: Release, broker: str) -> str | None:
    """What is held, with its stop and target at the exchange."""
    rows = release.rows("SELECT quantity FROM positions WHERE broker = $1 AND quantity > 0", broker)
    return str(rows[0]["quantity"]) if rows else None
