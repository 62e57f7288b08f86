"""`aristobot apply` and `kubectl apply` take the same files: models and schemas judge alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aristobot.contracts.changes import refused_change
from aristobot.contracts.resources import parse_document
from aristobot.core.errors import Misconfigured
from tests.support.admission import admit
from tests.support.documents import BAD, CHANGES, GOOD, LEAST, document

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"


def _refusal(judged: Any) -> str | None:
    try:
        parse_document(judged)
    except Misconfigured as error:
        return str(error)
    return None


def _judge(judged: Any) -> bool:
    """Whether both take it; fails when they differ."""
    stored, problems = admit(judged)
    refusal = _refusal(judged)
    assert bool(problems) == bool(refusal), (problems, refusal)
    if not problems:
        # Explicit defaults, as they are stored, mean what leaving them out means.
        assert parse_document(stored) == parse_document(judged)
    return not problems


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_what_is_right_is_taken_by_both(kind: str, spec: dict[str, Any]) -> None:
    assert _judge(document(kind, **spec))


@pytest.mark.parametrize(("kind", "spec", "says"), BAD)
def test_what_is_wrong_is_refused_by_both(kind: str, spec: dict[str, Any], says: str) -> None:
    judged = document(kind, **spec)
    assert not _judge(judged)
    _, problems = admit(judged)
    assert says in "; ".join(problems)


@pytest.mark.parametrize("kind", LEAST)
@pytest.mark.parametrize(
    ("name", "is_right"), [("a" * 50, True), ("a" * 51, False), ("a.b", False)]
)
def test_names_fit_into_what_is_named_after_them(kind: str, name: str, is_right: bool) -> None:
    assert _judge(document(kind, name)) == is_right


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_taken_by_both(example: Path) -> None:
    for found in yaml.safe_load_all(example.read_text(encoding="utf-8")):
        assert found["kind"] == "Secret" or _judge(found)


@pytest.mark.parametrize(("kind", "before", "after", "kept"), CHANGES)
def test_the_same_changes_are_refused(
    kind: str, before: dict[str, Any], after: dict[str, Any], kept: str | None
) -> None:
    stored, _ = admit(document(kind, **before))
    _, problems = admit(document(kind, **after), stored)
    dumped = [
        parse_document(document(kind, **spec)).model_dump(
            mode="json", by_alias=True, exclude_defaults=True
        )["spec"]
        for spec in (before, after)
    ]
    refusal = refused_change(kind, *dumped)
    if kept is None:
        assert not problems
        assert refusal is None
        return
    (problem,) = problems
    assert problem.startswith(f".spec.{kept}: ")
    assert problem.endswith("apply it under a new name")
    assert refusal == problem.removeprefix(".")


def test_aristobot_s_own_files_may_quote_an_amount() -> None:
    """The one difference that is wanted: a quoted number was always read, and stays readable."""
    quoted = document("Broker", risk={"maxOrderNotional": "0.1"})
    assert _refusal(quoted) is None
    assert admit(quoted)[1] == [".spec.risk.maxOrderNotional: must be of type number"]
    kept = parse_document(quoted).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert kept["spec"]["risk"] == {"maxOrderNotional": 0.1}
    assert not admit(document("Broker", **kept["spec"]))[1]


def test_an_amount_that_no_number_keeps_is_refused_rather_than_rounded() -> None:
    refusal = _refusal(document("Broker", risk={"maxOrderNotional": "0.12345678901234567890"}))
    assert refusal is not None
    assert "use at most 15" in refusal


#: Of each field what users write, and what they get wrong.
_NUMBERS = st.one_of(
    st.sampled_from(
        [0, 1, -1, 0.1, 60, 60.0, 61, 300, 1000, 86_400, 86_401, 1e15, "5", True, None]
    ),
    st.floats(1e-9, 1e16, allow_nan=False),
)
_NAMES = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["main", "a.b", "-a", "A", "", "a" * 50, "a" * 64, 1])}
)
_FLAGS = st.sampled_from([True, False, None, "true", 1])
_TIMEFRAMES = st.sampled_from(["1m", "10m", "4h", "1d", None, 5])
_MOMENTS = st.sampled_from(
    ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-06-01T00:00:00.5Z", "soon", None, 1]
)
_AMOUNTS = _NUMBERS.filter(lambda value: not isinstance(value, str))
_SPECS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "Broker": st.fixed_dictionaries(
        {"exchange": st.sampled_from(["binance", "mtgox"])},
        optional={
            "environment": st.sampled_from(["live", "testnet", "simulator", "paper", None]),
            "tradingMode": st.sampled_from(["off", "strategy", "webhook", False, None]),
            "number": _NUMBERS,
            "credentialsSecretRef": st.one_of(st.none(), _NAMES),
            "webhook": st.fixed_dictionaries(
                {}, optional={"allowRepeatedSignals": _FLAGS, "maxSignalAgeSeconds": _NUMBERS}
            ),
            "risk": st.fixed_dictionaries({}, optional={"maxOrderNotional": _AMOUNTS}),
            "simulator": st.one_of(
                st.none(),
                st.fixed_dictionaries(
                    {},
                    optional={
                        "balances": st.dictionaries(
                            st.sampled_from(["USDT", "BTC", "usdt", "", "X" * 21]),
                            _AMOUNTS.filter(lambda value: value is not None),
                            max_size=3,
                        )
                    },
                ),
            ),
        },
    ),
    "Strategy": st.fixed_dictionaries(
        {},
        optional={
            "code": st.one_of(st.none(), st.text(max_size=3)),
            "codeConfigMapRef": st.one_of(st.none(), _NAMES),
            "timeframe": _TIMEFRAMES,
        },
    ),
    "ActiveStrategy": st.fixed_dictionaries(
        {
            "strategyRef": st.just({"name": "ema"}) | _NAMES,
            "brokerRef": st.just({"name": "main"}),
            "symbol": st.sampled_from(["BTCUSDT", "BTCUSDT", "BTC/USDT", "B", "X" * 31]),
        },
        optional={
            "timeframe": _TIMEFRAMES,
            "start": _MOMENTS,
            "end": _MOMENTS,
            "active": _FLAGS,
            "paused": _FLAGS,
            "historyCandles": _NUMBERS,
            "maxSignalAgeSeconds": _NUMBERS,
            "memoryMebibytes": _NUMBERS,
            "decisionSeconds": _NUMBERS,
            "onDelete": st.sampled_from(["detach", "cancelOrders", "closePositions", "Detach"]),
        },
    ),
}


@pytest.mark.parametrize("kind", _SPECS)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_models_and_schemas_judge_alike(kind: str, data: st.DataObject) -> None:
    spec = data.draw(_SPECS[kind])
    _judge({**document(kind), "spec": spec})
