"""Types of the fields of resources: what a name, an amount or a moment is, and how it is refused.

Every type carries its JSON schema too, as the Kubernetes API server reads it, so that a file is
judged the same by `aristobot apply` and by `kubectl apply` (`contracts.crds`). Therefore text is
not taken for a number or a truth value here: the API server doesn't either. Not here: the
resources themselves (`contracts.resources`).
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

#: A label value has 63 characters, and `runner-<name>` must be one, with room to spare.
LONGEST_NAME: Final = 50
_LONGEST_LABEL: Final = 63
#: A DNS label (RFC 1123).
LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LARGEST: Final = Decimal(10**15)


class Spec(BaseModel):
    """Base of all parts of a resource: camelCase in YAML, immutable, no unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_said(cls, data: Any) -> Any:
        """`field:` with nothing behind it is as if it weren't there, as on Kubernetes."""
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def _label(longest: int) -> Any:
    def check(value: str) -> str:
        if len(value) > longest or not re.fullmatch(LABEL, value):
            raise ValueError(
                f"must be at most {longest} lower-case letters, digits or '-', and begin and end "
                "with a letter or digit"
            )
        return value

    return check


def _label_schema(longest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": f"^{LABEL}$"}
    )


def _no_text(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("must be a number, without quotation marks")
    return value


def _decimal(value: Any) -> Any:
    # YAML reads 0.1 as a binary float; its shortest text is what the user wrote.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return str(value) if isinstance(value, int | float) else value


def _fits_a_number(value: Decimal) -> Decimal:
    if Decimal(str(float(value))) != value:
        raise ValueError("has more digits than can be kept: use at most 15")
    return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _moment(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError("write a moment like 2026-01-31T00:00:00Z")
    return value


def decoded(value: str) -> str:
    """The UTF-8 text that a Secret's `data` holds in base64. Raises `ValueError`."""
    return base64.b64decode(value, validate=True).decode()


def _base64_text(value: str) -> str:
    try:
        decoded(value)
    except ValueError:  # base64's error and Unicode's are both of this kind
        raise ValueError("is not base64 of UTF-8 text") from None
    return value


#: Of a Secret, a ConfigMap, a namespace: a DNS label (RFC 1123), hence no dot.
Name = Annotated[str, AfterValidator(_label(_LONGEST_LABEL)), _label_schema(_LONGEST_LABEL)]
#: Of a resource of ours.
ResourceName = Annotated[str, AfterValidator(_label(LONGEST_NAME)), _label_schema(LONGEST_NAME)]
Flag = StrictBool
#: Stands behind a number's bounds: `Annotated[int, Field(ge=1), NO_TEXT]`.
NO_TEXT: Final = BeforeValidator(_no_text)
#: An amount of money or of a coin. It is a plain number in YAML, as users write it, and exact: no
#: more digits are taken than a JSON number keeps (docs/decisions/0016). Aristobot's own files may
#: put it in quotation marks too; the API server refuses those.
PositiveAmount = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0, le=_LARGEST, allow_inf_nan=False),
    AfterValidator(_fits_a_number),
    PlainSerializer(_number, return_type=int | float, when_used="json"),
    # `exclusiveMinimum` as OpenAPI 3.0 has it, and so Kubernetes: it makes `minimum` exclusive.
    WithJsonSchema(
        {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": int(_LARGEST)}
    ),
]
#: A moment with its time zone; RFC 3339 in YAML.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 35}),
]
Base64Text = Annotated[str, AfterValidator(_base64_text)]
