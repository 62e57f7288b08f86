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
    return Failure(404, f'{resource} "{name}" not found', details=_details(resource, name))


def conflict(resource: str, name: str, why: str) -> Failure:
    text = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return Failure(409, text, details=_details(resource, name))


def invalid(kind: str, name: str, causes: Iterable[tuple[str, str]]) -> Failure:
    """`kind`: with its group, as in `Deployment.apps`."""
    listed = list(causes)
    shown = ", ".join(f"{field}: {message}" if field else message for field, message in listed)
    shown = f"[{shown}]" if len(listed) > 1 else shown
    text = f'{kind} "{name}" is invalid: {shown}'
    return Failure(422, text, causes=listed, details=_details(kind, name))


def _details(of: str, name: str) -> dict[str, str]:
    kind, _, group = of.partition(".")
    return {"name": name, "kind": kind, **({"group": group} if group else {})}
