"""The API server's refusals: an exception that knows its HTTP status and its `Status` body.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Failure(Exception):
    """A request that is refused. `causes`: pairs of (field, message). `details`: of what."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        causes: Iterable[tuple[str, str]] = (),
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or _REASONS.get(code, "")
        self.message = message
        self.causes = list(causes)
        self.details = dict(details or {})

    @property
    def body(self) -> dict[str, Any]:
        causes = [{"reason": "FieldValueInvalid", "field": f, "message": m} for f, m in self.causes]
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": {**self.details, **({"causes": causes} if causes else {})},
            "code": self.code,
        }


def not_found(resource: str, name: str) -> Failure:
    plural, _, group = resource.partition(".")
    details = {"name": name, "kind": plural, **({"group": group} if group else {})}
    return Failure(404, f'{resource} "{name}" not found', details=details)


def conflict(resource: str, name: str, why: str) -> Failure:
    return Failure(409, f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def invalid(kind: str, name: str, causes: Iterable[tuple[str, str]]) -> Failure:
    listed = list(causes)
    shown = ", ".join(f"{field}: {message}" if field else message for field, message in listed)
    return Failure(422, f'{kind} "{name}" is invalid: {shown}', causes=listed)
