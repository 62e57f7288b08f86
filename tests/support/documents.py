"""Resources that are right and wrong, for whoever judges them: a model, a schema, a server."""

from __future__ import annotations

from typing import Any

from aristobot.contracts.resources import GROUP_VERSION

LEAST: dict[str, dict[str, Any]] = {
    "Broker": {"exchange": "binance", "environment": "simulator"},
    "Strategy": {"code": "x = 1"},
    "ActiveStrategy": {
        "strategyRef": {"name": "ema"},
        "brokerRef": {"name": "main"},
        "symbol": "BTCUSDT",
    },
}


def document(kind: str, name: str = "main", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GROUP_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": LEAST[kind] | spec,
    }


#: Taken: kind, and what the spec says beside `LEAST`.
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("Broker", {}),
    ("Broker", {"simulator": {"balances": {"USDT": 25000, "BTC": 0.5}}}),
    ("Broker", {"simulator": {}}),
    ("Broker", {"simulator": None, "number": None, "webhook": None, "tradingMode": None}),
    ("Broker", {"environment": "live", "credentialsSecretRef": {"name": "keys"}}),
    ("Broker", {"tradingMode": "off", "number": 1, "webhook": {"maxSignalAgeSeconds": 0}}),
    ("Broker", {"risk": {"maxOrderNotional": 0.1}}),
    ("Broker", {"risk": {"maxOrderNotional": 0.00000001}}),
    ("Broker", {"risk": {"maxOrderNotional": 123456789.12345678}}),
    ("Broker", {"number": 3.0}),
    ("Strategy", {"timeframe": "4h"}),
    ("Strategy", {"code": None, "codeConfigMapRef": {"name": "code"}}),
    ("Strategy", {"code": "é" * 100_000}),
    ("ActiveStrategy", {"start": "2026-01-31T00:00:00Z", "end": "2026-01-31T00:00:00.001+00:00"}),
    ("ActiveStrategy", {"end": "2026-01-31T00:00:00+02:00", "onDelete": "closePositions"}),
    ("ActiveStrategy", {"decisionSeconds": 1, "paused": True, "historyCandles": 1}),
]
#: Refused, and part of why in the words of `support.admission`.
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("Broker", {"exchange": "mtgox"}, ".spec.exchange: supported values"),
    ("Broker", {"exchange": None}, ".spec.exchange: required value"),
    ("Broker", {"environment": "live"}, "apply a Secret with apiKey and apiSecret"),
    (
        "Broker",
        {"environment": "testnet", "credentialsSecretRef": {"name": "k"}, "simulator": {}},
        ".spec.simulator: simulator is only allowed",
    ),
    ("Broker", {"credentialsSecretRef": {}}, ".spec.credentialsSecretRef.name: required"),
    ("Broker", {"credentialsSecretRef": {"name": "a.b"}}, ".spec.credentialsSecretRef.name"),
    ("Broker", {"tradingMode": False}, ".spec.tradingMode: must be of type string"),
    ("Broker", {"tradingMode": "on"}, ".spec.tradingMode: supported values"),
    ("Broker", {"number": "7"}, ".spec.number: must be of type integer"),
    ("Broker", {"number": True}, ".spec.number: must be of type integer"),
    ("Broker", {"number": 0}, ".spec.number: out of bounds"),
    ("Broker", {"number": 2.5}, ".spec.number: must be of type integer"),
    ("Broker", {"surprise": 1}, ".spec.surprise: unknown field"),
    ("Broker", {"webhook": {"allowRepeatedSignals": "yes"}}, "must be of type boolean"),
    ("Broker", {"risk": {"maxOrderNotional": 0}}, "should be greater than 0"),
    ("Broker", {"risk": {"maxOrderNotional": -1}}, "out of bounds"),
    ("Broker", {"risk": {"maxOrderNotional": 1e16}}, "out of bounds"),
    ("Broker", {"risk": {"maxOrderNotional": True}}, "must be of type number"),
    ("Broker", {"simulator": {"balances": {"usdt": 1}}}, "capital letters and digits"),
    ("Broker", {"simulator": {"balances": {"USDT\n": 1}}}, "capital letters and digits"),
    ("Broker", {"simulator": {"balances": {f"A{i}": 1 for i in range(51)}}}, "too many"),
    ("Strategy", {"code": None}, "exactly one of code and codeConfigMapRef"),
    ("Strategy", {"codeConfigMapRef": {"name": "a"}}, "exactly one of code and codeConfigMapRef"),
    ("Strategy", {"code": ""}, ".spec.code: too long or too short"),
    ("Strategy", {"code": "é" * 100_001}, ".spec.code: too long or too short"),
    ("Strategy", {"timeframe": "7m"}, ".spec.timeframe: supported values"),
    (
        "Strategy",
        {"code": None, "codeConfigMapRef": {"name": "a", "key": "a/b"}},
        ".spec.codeConfigMapRef.key: should match",
    ),
    ("ActiveStrategy", {"symbol": "BTC/USDT"}, ".spec.symbol: should match"),
    ("ActiveStrategy", {"symbol": "BTCUSDT\n"}, ".spec.symbol: should match"),
    ("ActiveStrategy", {"brokerRef": {"name": "a" * 51}}, ".spec.brokerRef.name: too long"),
    ("ActiveStrategy", {"strategyRef": None}, ".spec.strategyRef: required value"),
    ("ActiveStrategy", {"start": "2026-01-31T00:00:00"}, ".spec.start: must be of type date-time"),
    ("ActiveStrategy", {"start": 1769817600}, ".spec.start: must be of type string"),
    ("ActiveStrategy", {"start": "2026-02-30T00:00:00Z"}, ".spec.start: must be of type date"),
    (
        "ActiveStrategy",
        {"start": "2026-01-31T00:00:00+01:00", "end": "2026-01-30T23:00:00Z"},
        ".spec.end: end must be later than start",
    ),
    ("ActiveStrategy", {"paused": "true"}, ".spec.paused: must be of type boolean"),
    ("ActiveStrategy", {"paused": 1}, ".spec.paused: must be of type boolean"),
    ("ActiveStrategy", {"historyCandles": 1001}, ".spec.historyCandles: out of bounds"),
    ("ActiveStrategy", {"decisionSeconds": "5"}, ".spec.decisionSeconds: must be of type number"),
    ("ActiveStrategy", {"decisionSeconds": 0}, ".spec.decisionSeconds: must be at least 0.1"),
    ("ActiveStrategy", {"decisionSeconds": 0.05}, ".spec.decisionSeconds: out of bounds"),
    ("ActiveStrategy", {"onDelete": "ClosePositions"}, ".spec.onDelete: supported values"),
]


#: Before, after, and the field that may not change so.
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
    (
        "Broker",
        {},
        {"environment": "live", "credentialsSecretRef": {"name": "k"}},
        "environment",
    ),
    ("Broker", {}, {"tradingMode": "webhook", "number": 4}, None),
    ("ActiveStrategy", {}, {"symbol": "ETHUSDT"}, "symbol"),
    ("ActiveStrategy", {}, {"brokerRef": {"name": "other"}}, "brokerRef"),
    ("ActiveStrategy", {}, {"strategyRef": {"name": "other"}, "timeframe": "1h"}, None),
    ("ActiveStrategy", {"paused": True}, {"onDelete": "cancelOrders"}, None),
    ("Strategy", {}, {"code": "y = 2"}, None),
]
