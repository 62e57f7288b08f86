"""One REST call to Binance: encoded, signed, admitted by the budget, sent once, accounted for.

It never retries and never judges: it hands back a `Reply` with whatever came, and `errors` says
what that means. httpx's transport is used without its client: the client costs a third more CPU
per call and logs the whole URL, signature included. Headers are a fixed list, so nothing of our
tracing leaves for the exchange. HTTP/1.1 with kept-alive connections; no redirects are followed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from aristobot.exchanges.binance.clock import ExchangeClock
from aristobot.exchanges.binance.limits import RequestBudget, Use, retry_after_seconds
from aristobot.exchanges.binance.parsing import error_of
from aristobot.exchanges.binance.signing import Signer, encode, signed_query
from aristobot.exchanges.binance.urls import is_loopback
from aristobot.exchanges.port import HttpCall

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0
ORDER_READ_SECONDS = 10.0  # Binance gives up on an order itself after 10 s (-1007)
KEEP_ALIVE_SECONDS = 30.0
MAX_CONNECTIONS = 8
HIDDEN = "***"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A REST endpoint with its request weight (exchange reference 2.4, 2.5).

    `orders` is how many orders one call adds to the order count, if it places any.
    """

    method: str
    path: str
    weight: int
    use: Use = Use.READ
    orders: int = 1
    is_signed: bool = True
    is_keyed: bool = True

    @property
    def read_seconds(self) -> float:
        return ORDER_READ_SECONDS if self.use is Use.PLACE else READ_SECONDS


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `status` None: nothing readable came, `call.failure` says why.

    `code` and `message` are Binance's, if the status was an error and the body its error object.
    """

    status: int | None
    text: str
    code: int | None
    message: str
    retry_after: float | None
    call: HttpCall

    @property
    def is_ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class RestSession:
    """The connections to one REST origin for one key. Close it."""

    def __init__(
        self,
        origin: str,
        *,
        api_key: str,
        signer: Signer,
        clock: ExchangeClock,
        budget: RequestBudget,
    ) -> None:
        self._origin = origin
        self._api_key = api_key
        self._signer = signer
        self._clock = clock
        self._budget = budget
        self._urls: dict[str, httpx.URL] = {}
        self._transport = httpx.AsyncHTTPTransport(
            verify=_tls(origin),
            proxy=_proxy_for(origin),
            http2=False,
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
        )
        plain = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "aristobot"}
        self._plain_headers = tuple(plain.items())
        self._keyed_headers = (*plain.items(), ("X-MBX-APIKEY", api_key))
        self._form_headers = (
            *self._keyed_headers,
            ("Content-Type", "application/x-www-form-urlencoded"),
        )

    async def close(self) -> None:
        await self._transport.aclose()

    async def call(
        self,
        endpoint: Endpoint,
        params: Mapping[str, str],
        *,
        timestamp_ms: int | None = None,
    ) -> Reply:
        """Send once. `Retryable` when the budget forbids it: then nothing was sent.

        A signed call is stamped with `timestamp_ms`, or with now.
        """
        ticket = self._budget.admit(endpoint.weight, endpoint.use, endpoint.orders)
        status: int | None = None
        code: int | None = None
        headers: Mapping[str, str] = {}
        text, message, failure = "", "", None
        sent_at = datetime.now(UTC)
        started = time.perf_counter()
        try:
            shown = params
            if endpoint.is_signed:
                stamp = self._clock.now_ms() if timestamp_ms is None else timestamp_ms
                params = {**params, "timestamp": str(stamp)}
                shown = {**params, "signature": HIDDEN}
                query = signed_query(params, self._signer)
            else:
                query = encode(params)
            started = time.perf_counter()
            try:
                status, headers, text = await self._exchange(endpoint, query)
            except httpx.RequestError as error:
                failure = _failure(error)
            except TimeoutError:
                failure = "no complete answer in time"
            if status is not None and not 200 <= status < 300:
                text = self._hide(text, query)
                code, message = error_of(text)
        finally:
            self._budget.settle(ticket, status=status, headers=headers, code=code)
        call = HttpCall(
            method=endpoint.method,
            path=endpoint.path,
            params=shown,
            sent_at=sent_at,
            duration_ms=(time.perf_counter() - started) * 1000,
            status=status,
            answer=None if status is None else text,
            failure=failure,
        )
        return Reply(status, text, code, message, retry_after_seconds(headers), call)

    async def _exchange(self, endpoint: Endpoint, query: str) -> tuple[int, Mapping[str, str], str]:
        read = endpoint.read_seconds
        limits = {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS, "write": read, "read": read}
        request = self._request(endpoint, query, {"timeout": limits})
        # httpx's read timeout starts anew with every packet: a dripping answer needs a whole one.
        async with asyncio.timeout(CONNECT_SECONDS + read):
            response = await self._transport.handle_async_request(request)
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        return response.status_code, response.headers, body.decode("utf-8", "replace")

    def _request(
        self, endpoint: Endpoint, query: str, extensions: dict[str, object]
    ) -> httpx.Request:
        if endpoint.method == "POST":
            # In the body, not in the URL: URLs end up in other people's access logs.
            url = self._url(endpoint.path)
            body = query.encode("ascii")
            return httpx.Request(
                "POST", url, headers=self._form_headers, content=body, extensions=extensions
            )
        url = self._url(endpoint.path)
        if query:
            url = url.copy_with(query=query.encode("ascii"))
        headers = self._keyed_headers if endpoint.is_keyed else self._plain_headers
        return httpx.Request(endpoint.method, url, headers=headers, extensions=extensions)

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(self._origin + path)
        return url

    def _hide(self, text: str, query: str) -> str:
        """An error page may repeat what it was asked: take key and signature out of it."""
        signature = query.rpartition("signature=")[2] if "signature=" in query else ""
        for secret in (self._api_key, signature):
            if secret:
                text = text.replace(secret, HIDDEN)
        return text


def _failure(error: httpx.RequestError) -> str:
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return f"{reason} (nothing was written)"
    return reason


def _tls(origin: str) -> ssl.SSLContext:
    if origin.startswith("https:"):
        return ssl.create_default_context()
    # Never used for http, and loading the system's certificates costs tens of milliseconds.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy_for(origin: str) -> httpx.Proxy | None:
    """The environment's proxy, as curl would use it; never for this machine."""
    parts = urlsplit(origin)
    address = getproxies().get(parts.scheme)
    if not address or is_loopback(origin) or proxy_bypass(parts.hostname or ""):
        return None
    _log.info("exchange is reached through the environment's proxy")
    return httpx.Proxy(address)
