"""What a `ResourceStore` promises, as checks that run against each of its adapters.

A test module subclasses `ResourceStoreConformance` and has a fixture `place`. So PostgreSQL, the
double of the Kubernetes API and a real cluster all keep the same promises.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from aristobot.contracts.resources import (
    ActiveStrategy,
    Broker,
    Document,
    Strategy,
    parse_document,
)
from aristobot.core.errors import Misconfigured
from aristobot.platform.db import EVERY_OWNER
from aristobot.platform.resource_store import (
    Applied,
    ChangedMeanwhile,
    ResourceStore,
    StoredResource,
)

CODE = "class Nothing(Strategy):\n    def on_candle(self, candles):\n        return None\n"
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Running",
    "message": "it runs",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Place:
    """A store with two owners that have nothing yet."""

    store: ResourceStore
    owner: str
    other: str


def resource(kind: str, name: str, **spec: Any) -> Document:
    return parse_document(
        {
            "apiVersion": "trading.aristobot.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def broker(name: str = "main", **spec: Any) -> Document:
    return resource("Broker", name, exchange="binance", environment="simulator", **spec)


def active(name: str = "ema-btc", **spec: Any) -> Document:
    required = {"strategyRef": {"name": "ema"}, "brokerRef": {"name": "main"}, "symbol": "BTCUSDT"}
    return resource("ActiveStrategy", name, **{**required, **spec})


def secret(**entries: str) -> Document:
    return parse_document(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "stringData": entries,
        }
    )


async def stands(place: Place, document: Document) -> StoredResource:
    found = await place.store.get(place.owner, document.kind, document.metadata.name)
    assert found is not None
    return found


class ResourceStoreConformance:
    # Applying

    async def test_applying_says_what_it_did_and_counts_changes_of_the_spec(
        self, place: Place
    ) -> None:
        store, owner = place.store, place.owner
        assert await store.get(owner, "Broker", "main") is None
        assert await store.apply(owner, broker()) is Applied.CREATED
        assert await store.apply(owner, broker()) is Applied.UNCHANGED
        assert await store.apply(owner, broker(tradingMode="webhook")) is Applied.CONFIGURED
        await store.set_status(owner, "Broker", "main", {"conditions": [READY]})
        stored = await stands(place, broker())
        assert (stored.generation, stored.status) == (2, {"conditions": [READY]})
        assert await store.apply(owner, broker(tradingMode="webhook")) is Applied.UNCHANGED
        assert (await stands(place, broker())).generation == 2

    @pytest.mark.parametrize(
        "document",
        [
            broker(
                tradingMode="strategy",
                number=7,
                webhook={"allowRepeatedSignals": True, "maxSignalAgeSeconds": 0},
                risk={"maxOrderNotional": 0.1},
                simulator={"balances": {"USDT": 25_000, "BTC": "0.5"}},
            ),
            resource(
                "Broker", "real", exchange="binance", credentialsSecretRef={"name": "binance-keys"}
            ),
            resource("Strategy", "ema", code=CODE, timeframe="5m"),
            resource("Strategy", "big", codeConfigMapRef={"name": "code"}),
            active(),
            active(
                timeframe="1h",
                start="2026-01-01T00:00:00Z",
                end="2026-02-01T00:00:00+01:00",
                active=False,
                paused=True,
                historyCandles=1000,
                decisionSeconds=0.5,
            ),
        ],
        ids=["broker", "live-broker", "strategy", "code-elsewhere", "active", "active-in-full"],
    )
    async def test_what_is_read_back_means_the_same_and_can_be_applied_again(
        self, place: Place, document: Document
    ) -> None:
        assert not isinstance(document, type(secret()))
        store, owner = place.store, place.owner
        assert await store.apply(owner, document) is Applied.CREATED
        stored = await stands(place, document)
        assert (stored.owner, stored.kind) == (owner, document.kind)
        assert stored.parse(type(document)).spec == document.spec
        again = parse_document(stored.document())
        assert again.metadata.namespace == owner
        assert await store.apply(owner, again) is Applied.UNCHANGED
        with pytest.raises(Misconfigured, match="is not of kind"):
            stored.parse(Strategy if document.kind == "Broker" else Broker)

    async def test_an_applied_file_counts_as_it_stands_whoever_wrote_the_last(
        self, place: Place
    ) -> None:
        await place.store.apply(place.owner, active(timeframe="1m", historyCandles=50))
        seen = await stands(place, active())
        await place.store.change(seen, {"active": False, "end": "2026-01-01T00:00:00+00:00"})
        assert await place.store.apply(place.owner, active(timeframe="5m")) is Applied.CONFIGURED
        stored = await stands(place, active())
        assert stored.parse(ActiveStrategy).spec == active(timeframe="5m").spec
        assert stored.generation == 3

    # Changing what was seen

    async def test_a_change_leaves_the_rest_of_the_spec(self, place: Place) -> None:
        await place.store.apply(place.owner, active(timeframe="1m", end="2036-01-01T00:00:00Z"))
        await place.store.change(await stands(place, active()), {"paused": True, "end": None})
        stored = await stands(place, active())
        assert stored.parse(ActiveStrategy).spec == active(timeframe="1m", paused=True).spec
        assert stored.generation == 2
        await place.store.change(stored, {"paused": True})
        assert (await stands(place, active())).generation == 2
        await place.store.change(stored, {"end": "2026-01-01T00:00:00+00:00"})
        again = parse_document((await stands(place, active())).document())
        assert await place.store.apply(place.owner, again) is Applied.UNCHANGED

    async def test_a_change_does_not_overwrite_an_apply_that_came_between(
        self, place: Place
    ) -> None:
        await place.store.apply(place.owner, active(timeframe="1m"))
        seen = await stands(place, active())
        await place.store.apply(place.owner, active(timeframe="5m"))
        with pytest.raises(ChangedMeanwhile, match="ema-btc was changed by somebody else"):
            await place.store.change(seen, {"paused": True})
        stored = await stands(place, active())
        assert stored.parse(ActiveStrategy).spec == active(timeframe="5m").spec

    async def test_of_two_changes_at_once_one_is_refused(self, place: Place) -> None:
        await place.store.apply(place.owner, active())
        seen = await stands(place, active())
        results = await asyncio.gather(
            place.store.change(seen, {"paused": True}),
            place.store.change(seen, {"active": False}),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == [
            "ChangedMeanwhile",
            "NoneType",
        ]
        spec = (await stands(place, active())).parse(ActiveStrategy).spec
        assert spec.paused is (results[0] is None)
        assert spec.active is (results[0] is None)

    async def test_a_status_written_meanwhile_does_not_hinder_a_change(self, place: Place) -> None:
        await place.store.apply(place.owner, active())
        seen = await stands(place, active())
        await place.store.set_status(place.owner, "ActiveStrategy", "ema-btc", {"phase": "Running"})
        await place.store.change(seen, {"paused": True})
        stored = await stands(place, active())
        assert stored.parse(ActiveStrategy).spec.paused
        assert stored.status == {"phase": "Running"}

    @pytest.mark.parametrize("again", [False, True], ids=["deleted", "applied-again"])
    async def test_a_change_is_not_for_another_resource_of_that_name(
        self, place: Place, again: bool
    ) -> None:
        await place.store.apply(place.owner, active())
        seen = await stands(place, active())
        assert await place.store.delete(place.owner, "ActiveStrategy", "ema-btc")
        if again:
            await place.store.apply(place.owner, active())
            assert (await stands(place, active())).uid != seen.uid
        with pytest.raises(ChangedMeanwhile):
            await place.store.change(seen, {"paused": True})
        if again:
            assert (await stands(place, active())).spec == seen.spec

    async def test_a_change_to_nonsense_is_refused_and_named(self, place: Place) -> None:
        await place.store.apply(place.owner, active(start="2026-02-01T00:00:00Z"))
        seen = await stands(place, active())
        with pytest.raises(Misconfigured, match="end must be later than start"):
            await place.store.change(seen, {"end": "2026-01-01T00:00:00Z"})
        assert await stands(place, active()) == seen

    # Owners, names, numbers

    async def test_owners_have_resources_of_their_own(self, place: Place) -> None:
        store = place.store
        for owner, name in ((place.owner, "b"), (place.owner, "a"), (place.other, "c")):
            await store.apply(owner, broker(name))
        assert [each.name for each in await store.list(place.owner, "Broker")] == ["a", "b"]
        assert [each.name for each in await store.list(place.other, "Broker")] == ["c"]
        everybody = await store.list(EVERY_OWNER, "Broker")
        ours = [each for each in everybody if each.owner in (place.owner, place.other)]
        assert sorted(each.name for each in ours) == ["a", "b", "c"]
        assert await store.list(place.owner, "Strategy") == []
        assert not await store.delete(place.other, "Broker", "a")
        assert await store.get(place.owner, "Strategy", "a") is None

    async def test_what_is_applied_again_after_a_deletion_is_another_one(
        self, place: Place
    ) -> None:
        await place.store.apply(place.owner, broker())
        first = await stands(place, broker())
        await place.store.apply(place.owner, broker(tradingMode="webhook"))
        changed = await stands(place, broker())
        assert await place.store.delete(place.owner, "Broker", "main")
        assert not await place.store.delete(place.owner, "Broker", "main")
        await place.store.apply(place.owner, broker())
        again = await stands(place, broker())
        assert first.uid == changed.uid != again.uid
        assert again.generation == 1

    async def test_a_number_names_one_broker(self, place: Place) -> None:
        await place.store.apply(place.owner, broker(number=7))
        with pytest.raises(Misconfigured, match=r"spec\.number: 7 is already the number of broker"):
            await place.store.apply(place.owner, broker("second", number=7))
        assert await place.store.get(place.owner, "Broker", "second") is None
        await place.store.apply(place.other, broker(number=7))

    # Secrets

    async def test_secrets_are_named_and_their_values_never_shown(self, place: Place) -> None:
        store, owner = place.store, place.owner
        both = secret(apiKey="hush-hush", apiSecret="never")
        assert await store.apply(owner, both) is Applied.CREATED
        assert await store.apply(owner, both) is Applied.UNCHANGED
        named = dict(await store.secret_names(owner))
        assert named == {"keys": ("apiKey", "apiSecret")}
        assert await store.apply(owner, secret(apiKey="other")) is Applied.CONFIGURED
        assert dict(await store.secret_names(owner)) == {"keys": ("apiKey",)}
        assert await store.secret_names(place.other) == []
        assert await store.delete(owner, "Secret", "keys")
        assert not await store.delete(owner, "Secret", "keys")
        assert await store.secret_names(owner) == []


class RulesConformance:
    """What the CRDs' rules refuse; the double of the API doesn't do rules."""

    async def test_to_what_orders_belong_is_kept(self, place: Place) -> None:
        store, owner = place.store, place.owner
        await store.apply(owner, broker())
        live = resource(
            "Broker", "main", exchange="binance", credentialsSecretRef={"name": "binance-keys"}
        )
        with pytest.raises(Misconfigured, match=r"environment.* under a new name"):
            await store.apply(owner, live)
        await store.apply(owner, active())
        with pytest.raises(Misconfigured, match=r"symbol.* under a new name"):
            await store.apply(owner, active(symbol="ETHUSDT"))
        with pytest.raises(Misconfigured, match=r"symbol.* under a new name"):
            await store.change(await stands(place, active()), {"symbol": "ETHUSDT"})
        assert (await stands(place, active())).generation == 1
        assert await store.apply(owner, active(paused=True)) is Applied.CONFIGURED
