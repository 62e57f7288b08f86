"""A wrong resource is refused with the path of the wrong field, and never shows a secret."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from aristobot.contracts.directory import BrokerRecord
from aristobot.contracts.resources import Broker, SecretDocument, TradingMode, parse_document
from aristobot.contracts.workload import credentials_secret, gateway_workload
from aristobot.core.errors import Misconfigured

GOOD = """
apiVersion: trading.aristobot.io/v1alpha1
kind: Broker
metadata: {name: main}
spec:
  exchange: binance
  environment: testnet
  tradingMode: webhook
  number: 3
  credentialsSecretRef: {name: keys}
  webhook: {allowRepeatedSignals: true, maxSignalAgeSeconds: 60}
  risk: {maxOrderNotional: 250.5}
"""


def _document(**spec: Any) -> Any:
    document = yaml.safe_load(GOOD)
    document["spec"] |= spec
    return document


def test_a_good_broker_is_read() -> None:
    broker = parse_document(yaml.safe_load(GOOD))
    assert isinstance(broker, Broker)
    assert broker.spec.trading_mode is TradingMode.WEBHOOK
    assert str(broker.spec.risk.max_order_notional) == "250.5"
    record = BrokerRecord.of("demo", broker)
    assert record.allow_repeated_signals
    assert record.max_signal_age_seconds == 60
    assert BrokerRecord.model_validate_json(record.encode()) == record


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"exchange": "mtgox"}, "spec.exchange"),
        ({"tradingMode": "on"}, "spec.tradingMode"),
        ({"tradingMode": False}, 'spec.tradingMode: write "off" in quotation marks'),
        ({"number": 0}, "spec.number"),
        ({"number": "x"}, "spec.number"),
        ({"surprise": 1}, "spec.surprise: unknown field"),
        ({"webhook": {"maxSignalAgeSeconds": -1}}, "spec.webhook.maxSignalAgeSeconds"),
        ({"risk": {"maxOrderNotional": "-5"}}, "spec.risk.maxOrderNotional"),
        ({"risk": {"maxOrderNotional": ".inf"}}, "spec.risk.maxOrderNotional"),
        ({"credentialsSecretRef": None}, "spec: credentialsSecretRef is required"),
        ({"credentialsSecretRef": {"name": "Bad_Name"}}, "spec.credentialsSecretRef.name"),
        ({"simulator": {}}, "spec: simulator is only allowed"),
    ],
)
def test_the_wrong_field_is_named(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        parse_document(_document(**change))
    assert path in str(refused.value)


@pytest.mark.parametrize(
    "document",
    [None, 5, [], {}, {"apiVersion": "v1", "kind": "Pod"}, {"kind": "Broker"}],
)
def test_what_is_no_resource_of_ours_is_refused(document: object) -> None:
    with pytest.raises(Misconfigured):
        parse_document(document)


def test_what_a_cluster_adds_is_left_alone() -> None:
    document = yaml.safe_load(GOOD)
    document["metadata"] |= {"uid": "x", "generation": 4, "creationTimestamp": "2026"}
    document["status"] = {"conditions": []}
    assert parse_document(document) == parse_document(yaml.safe_load(GOOD))


def test_a_secret_is_read_in_both_forms_and_never_shown() -> None:
    secret = parse_document(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "data": {"apiKey": "a2V5"},
            "stringData": {"apiSecret": "hush"},
        }
    )
    assert isinstance(secret, SecretDocument)
    assert secret.values() == {"apiKey": "key", "apiSecret": "hush"}
    with pytest.raises(Misconfigured) as refused:
        parse_document(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "keys"},
                "stringData": {"apiSecret": {"nested": "hush"}},
            }
        )
    assert "stringData.apiSecret" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_simulated_broker_gets_credentials_of_its_own() -> None:
    broker = parse_document(
        {
            "apiVersion": "trading.aristobot.io/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "play"},
            "spec": {"exchange": "binance", "environment": "simulator"},
        }
    )
    assert isinstance(broker, Broker)
    assert credentials_secret(broker) == "play-simulator"
    workload = gateway_workload("demo", broker)
    assert workload.name == "gateway-demo.play"
    assert workload.arguments == ("gateway", "--broker", "demo.play")
    assert {reference.secret for reference in workload.secrets.values()} == {"play-simulator"}
