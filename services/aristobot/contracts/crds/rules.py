"""Rules in CEL for what a schema has no word for: several fields at once, and change over time.

The API server evaluates them and answers with the message, so it says what to do instead. Each
rule has its twin, in a validator of `contracts.resources` or in `contracts.changes`; a test judges
the same documents by both. The language: https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aristobot.contracts.changes import KEPT_FIELDS, kept_text
from aristobot.contracts.fields import LONGEST_NAME

#: The resource itself, where alone a rule sees `metadata.name`.
ROOT: Final = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """`at`: the fields that lead to where it applies. `reason`, `field`: how it is reported."""

    at: tuple[str, ...]
    rule: str
    message: str
    reason: str = "FieldValueInvalid"
    field: str | None = None

    def schema(self) -> dict[str, Any]:
        shown = {"rule": self.rule, "message": self.message, "reason": self.reason}
        return shown if self.field is None else {**shown, "fieldPath": self.field}


def _named() -> Rule:
    # `metadata.name` can't be a fieldPath: it isn't part of the schema.
    return Rule(
        ROOT,
        f"size(self.metadata.name) <= {LONGEST_NAME} && !self.metadata.name.contains('.')",
        f"metadata.name must have at most {LONGEST_NAME} characters and no dot: the name is part "
        "of a pod's label and of a message subject",
    )


def _kept(kind: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(("spec", field), "self == oldSelf", kept_text(kind, field))
        for field in KEPT_FIELDS[kind]
    )


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "Broker": (
        _named(),
        Rule(
            ("spec",),
            "self.environment == 'simulator' || has(self.credentialsSecretRef)",
            "credentialsSecretRef is required unless environment is simulator: apply a Secret with "
            "apiKey and apiSecret and name it here",
            reason="FieldValueRequired",
            field=".credentialsSecretRef",
        ),
        Rule(
            ("spec",),
            "self.environment == 'simulator' || !has(self.simulator)",
            "simulator is only allowed when environment is simulator: remove it",
            reason="FieldValueForbidden",
            field=".simulator",
        ),
        *_kept("Broker"),
        Rule(
            ("spec", "simulator", "balances"),
            "self.all(asset, asset.matches('^[A-Z0-9]{1,20}$'))",
            "an asset has 1 to 20 capital letters and digits, as in USDT: 25000",
        ),
    ),
    "Strategy": (
        _named(),
        Rule(
            ("spec",),
            "has(self.code) != has(self.codeConfigMapRef)",
            "exactly one of code and codeConfigMapRef is needed: put the Python code into code, or "
            "name the ConfigMap that holds it",
        ),
    ),
    "ActiveStrategy": (
        _named(),
        Rule(
            ("spec",),
            "!has(self.start) || !has(self.end) || self.end > self.start",
            "end must be later than start",
            field=".end",
        ),
        *_kept("ActiveStrategy"),
    ),
}
