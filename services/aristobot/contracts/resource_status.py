"""What the operator reports on a resource, as models: the `status` of the three kinds.

`contracts.crds` makes the API server's schema of them. Status tells of transitions; balances,
profits and prices don't belong here, since every change is written to Kubernetes' database. Not
here: deciding what to report (the operator).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from aristobot.contracts.fields import NO_TEXT, Moment, Spec
from aristobot.core.candles import Timeframe

Tally = Annotated[int, Field(ge=0), NO_TEXT]


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Spec):
    """One aspect of the resource's state, with the fields of Kubernetes' `metav1.Condition`."""

    # https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/types.go

    type: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", min_length=1, max_length=64)] = (
        Field(description="What it is about, one word in CamelCase.")
    )
    status: ConditionStatus = Field(description="Whether it holds: True, False or Unknown.")
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$", min_length=1, max_length=128)] = (
        Field(description="Why, one word in CamelCase that programs may rely on.")
    )
    message: Annotated[str, Field(max_length=32_768)] = Field(
        description="Why, in words, and what to do. May be empty."
    )
    last_transition_time: Moment = Field(description="When `status` last changed.")
    observed_generation: Tally | None = Field(
        default=None, description="The metadata.generation that this was found for."
    )


class ResourceStatus(Spec):
    """What the operator observed last. It is written by the operator alone."""

    observed_generation: Tally | None = Field(
        default=None,
        description="The metadata.generation that was looked at last. Less than the resource's "
        "own: the operator hasn't got to the latest change yet.",
    )
    phase: Annotated[str, Field(max_length=64)] | None = Field(
        default=None,
        description="The state in one word, for people; programs look at the conditions.",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="The state in detail, one entry for each aspect.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )


class BrokerStatus(ResourceStatus):
    """What the operator observed last. It is written by the operator alone."""


class StrategyResourceStatus(ResourceStatus):
    """What the operator observed last. It is written by the operator alone."""


class ActiveStrategyStatus(ResourceStatus):
    """What the operator observed last. It is written by the operator alone."""

    timeframe: Timeframe | None = Field(
        default=None, description="What it runs on: its own timeframe, or its Strategy's."
    )
    restarts: Tally | None = Field(
        default=None, description="How often the strategy's process was made anew."
    )
    last_decision: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="What it last decided, in words."
    )
    position: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="What it holds, in words."
    )
