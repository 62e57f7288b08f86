"""The simulator's own endpoint `/control`: accounts, prices, limits, faults, and counting orders.

No real exchange has it. It takes JSON, answers JSON, and says in a plain sentence (400) what is
wrong with a body. It is not authenticated: the simulator listens on this machine only.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aristobot.simulator.accounts import Account
from aristobot.simulator.binance.limits import Limits
from aristobot.simulator.binance.streams import StreamHub
from aristobot.simulator.faults import Fault, FaultKind, Faults
from aristobot.simulator.market_opening import change_speed
from aristobot.simulator.matching import Exchange
from aristobot.simulator.orders import Order
from aristobot.simulator.pairs import ASSETS, PAIRS, UNIT

Amount = Annotated[Decimal, Field(ge=0, le=Decimal(10) ** 12, allow_inf_nan=False)]
_NEEDS_SECONDS = frozenset(
    {
        FaultKind.LATE_FILL,
        FaultKind.MUTE_STREAM,
        FaultKind.CLOCK_SKEW,
        FaultKind.DELAY,
        FaultKind.SLOW_ANSWER,
    }
)
_DEFAULT_SECONDS = {FaultKind.RATE_LIMIT: 1.0, FaultKind.BAN: 120.0, FaultKind.PARTIAL_FILL: 1.0}
_MAY_BE_NEGATIVE = frozenset({FaultKind.CLOCK_SKEW})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountBody(_Body):
    """An account to exist; `reset` also cancels open orders and sets secret and balances."""

    secret: str = Field(min_length=1, max_length=256, repr=False)
    balances: dict[str, Amount] = Field(default_factory=dict)
    reset: bool = False


class MarketBody(_Body):
    """How fast the market's time runs from now on; 0: it stands still."""

    speed: float = Field(ge=0, le=100_000, allow_inf_nan=False)


class PriceBody(_Body):
    """A price to jump to and/or whether the walk of the symbol stands still."""

    symbol: str
    price: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] | None = None
    freeze: bool | None = None


class LimitsBody(_Body):
    """The rate limits to change; changing any lifts bans and counts."""

    weight_per_minute: int | None = Field(default=None, ge=1)
    orders_per_10_seconds: int | None = Field(default=None, ge=1)
    orders_per_day: int | None = Field(default=None, ge=1)
    ignored_429s: int | None = Field(default=None, ge=1)
    ban_seconds: int | None = Field(default=None, ge=1)


class FaultBody(_Body):
    """A fault to arm. `times` null: until removed. `path`: "METHOD /path", "/path" or "*"."""

    kind: FaultKind
    times: int | None = Field(default=1, ge=1)
    probability: float = Field(default=1, gt=0, le=1)
    path: str = "POST /api/v3/order"
    api_key: str | None = None
    seconds: float | None = Field(default=None, ge=-86_400, le=86_400, allow_inf_nan=False)
    accepted: bool = False
    status: Literal[500, 502, 503, 504] = 503
    fraction: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.5")
    rest: Literal["fill", "expire"] = "fill"


class Unusable(Exception):
    """A control request that cannot be done; the text is the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


Body = TypeVar("Body", bound=_Body)
Handler = Callable[[Request], Awaitable[Response]]


class Control:
    """The control endpoint over the engine, the faults and one dialect's limits and streams."""

    def __init__(self, exchange: Exchange, faults: Faults, limits: Limits, hub: StreamHub) -> None:
        self._exchange = exchange
        self._faults = faults
        self._limits = limits
        self._hub = hub

    def routes(self) -> list[Route]:
        """The routes to mount at `/control`."""
        return [
            Route("/accounts/{api_key}", _said_plainly(self._put_account), methods=["PUT"]),
            Route("/accounts/{api_key}", _said_plainly(self._get_account), methods=["GET"]),
            Route("/orders", _said_plainly(self._get_orders), methods=["GET"]),
            Route("/market", _said_plainly(self._post_market), methods=["POST"]),
            Route("/price", _said_plainly(self._post_price), methods=["POST"]),
            Route("/limits", _said_plainly(self._put_limits), methods=["PUT"]),
            Route("/faults", _said_plainly(self._post_fault), methods=["POST"]),
            Route("/faults", _said_plainly(self._get_faults), methods=["GET"]),
            Route("/faults", _said_plainly(self._delete_faults), methods=["DELETE"]),
            Route("/faults/{id:int}", _said_plainly(self._delete_faults), methods=["DELETE"]),
        ]

    def _account(self, api_key: str) -> Account:
        account = self._exchange.account(api_key)
        if account is None:
            raise Unusable("There is no account with this API key.", 404)
        return account

    async def _put_account(self, request: Request) -> Response:
        body = await _read(request, AccountBody)
        for asset, amount in body.balances.items():
            if asset not in ASSETS:
                known = ", ".join(ASSETS)
                raise Unusable(f"The simulator has no asset {asset!r}; it has {known}.")
            if amount % UNIT:
                raise Unusable(f"The balance of {asset} has more than eight decimals.")
        account, is_new = self._exchange.put_account(
            request.path_params["api_key"], body.secret, body.balances, reset=body.reset
        )
        return JSONResponse(_account_view(account), status_code=201 if is_new else 200)

    async def _get_account(self, request: Request) -> Response:
        return JSONResponse(_account_view(self._account(request.path_params["api_key"])))

    async def _get_orders(self, request: Request) -> Response:
        api_key = request.query_params.get("api_key")
        if api_key is None:
            return JSONResponse([_order_view(o) for o in self._exchange.book.orders.values()])
        account = self._account(api_key)
        orders = [order for orders in account.orders.values() for order in orders]
        orders.sort(key=lambda order: order.id)
        return JSONResponse([_order_view(order) for order in orders])

    async def _post_market(self, request: Request) -> Response:
        body = await _read(request, MarketBody)
        change_speed(self._exchange.market, self._exchange.clock, body.speed)
        return JSONResponse({"speed": body.speed, "time": self._exchange.market.now_ms})

    async def _post_price(self, request: Request) -> Response:
        body = await _read(request, PriceBody)
        pair = PAIRS.get(body.symbol)
        if pair is None:
            raise Unusable(f"The simulator lists no {body.symbol!r}; it lists {', '.join(PAIRS)}.")
        if body.price is None and body.freeze is None:
            raise Unusable("Give a price, or freeze as true or false.")
        if self._exchange.market.pairs[pair.symbol].recording is not None:
            raise Unusable(f"The price of {pair.symbol} is that of its recording.")
        if body.price is not None and (
            not pair.tick * 2 <= body.price <= pair.maximum_price or body.price % pair.tick
        ):
            raise Unusable(
                f"The price of {pair.symbol} must be a multiple of {pair.tick} from "
                f"{pair.tick * 2} to {pair.maximum_price}."
            )
        self._exchange.set_price(pair, body.price, freeze=body.freeze)
        market = self._exchange.market.pairs[pair.symbol]
        quote = market.quote
        return JSONResponse(
            {
                "symbol": pair.symbol,
                "price": str(market.price),
                "bid": str(quote.bid),
                "ask": str(quote.ask),
                "frozen": market.is_frozen,
            }
        )

    async def _put_limits(self, request: Request) -> Response:
        body = await _read(request, LimitsBody)
        for name, value in body.model_dump(exclude_none=True).items():
            setattr(self._limits.values, name, value)
        self._limits.lift()
        values = self._limits.values
        return JSONResponse({name: getattr(values, name) for name in LimitsBody.model_fields})

    async def _post_fault(self, request: Request) -> Response:
        body = await _read(request, FaultBody)
        seconds = body.seconds
        if seconds is None:
            if body.kind in _NEEDS_SECONDS:
                raise Unusable(f"A fault of kind {body.kind.value} needs seconds.")
            seconds = _DEFAULT_SECONDS.get(body.kind, 0.0)
        if seconds < 0 and body.kind not in _MAY_BE_NEGATIVE:
            raise Unusable(f"The seconds of a fault of kind {body.kind.value} cannot be negative.")
        method, path = _split_path(body.path)
        fault = Fault(
            id=self._faults.next_id(),
            kind=body.kind,
            remaining=body.times,
            probability=body.probability,
            method=method,
            path=path,
            api_key=body.api_key,
            seconds=seconds,
            accepted=body.accepted,
            status=body.status,
            fraction=body.fraction,
            rest_expires=body.rest == "expire",
        )
        self._begin(fault)
        return JSONResponse(_fault_view(fault), status_code=201)

    def _begin(self, fault: Fault) -> None:
        """Arm a fault that waits for a request; do at once one that does not."""
        if fault.kind is FaultKind.DROP_SOCKET:
            fault.happened = self._hub.drop(fault.api_key)
            return
        self._faults.arm(fault)
        if fault.kind is FaultKind.CLOCK_SKEW:
            fault.remaining = None
            self._exchange.clock.skew_ms = round(fault.seconds * 1000)
        elif fault.kind is FaultKind.MUTE_STREAM:
            fault.remaining = None
            self._hub.mute(fault.api_key, fault.seconds, lambda: self._end_mute(fault.id))

    def _end_mute(self, fault_id: int) -> None:
        self._faults.disarm(fault_id)

    async def _get_faults(self, request: Request) -> Response:
        return JSONResponse([_fault_view(fault) for fault in self._faults.armed()])

    async def _delete_faults(self, request: Request) -> Response:
        fault_id = request.path_params.get("id")
        found = [f for f in self._faults.armed() if fault_id is None or f.id == fault_id]
        if fault_id is not None and not found:
            raise Unusable("There is no armed fault with this id.", 404)
        for fault in found:
            self._faults.disarm(fault.id)
            if fault.kind is FaultKind.CLOCK_SKEW:
                self._exchange.clock.skew_ms = 0
            elif fault.kind is FaultKind.MUTE_STREAM:
                self._hub.unmute(fault.api_key)
        return JSONResponse([_fault_view(fault) for fault in found])


def _split_path(text: str) -> tuple[str | None, str | None]:
    """ "POST /x" -> (POST, /x); "/x" -> (any, /x); "*" -> (any, any)."""
    if text == "*":
        return None, None
    method, _, path = text.rpartition(" ")
    if not path.startswith("/") or (method and not method.isalpha()):
        raise Unusable('A path is "METHOD /path", "/path" or "*".')
    return method.upper() or None, path


def _plain(amount: Decimal) -> str:
    """An amount without exponent and trailing zeros."""
    return f"{amount.normalize():f}"


def _account_view(account: Account) -> dict[str, Any]:
    return {
        "api_key": account.api_key,
        "uid": account.uid,
        "balances": {
            asset: {"free": _plain(balance.free), "locked": _plain(balance.locked)}
            for asset, balance in account.balances.items()
        },
        "orders": sum(len(orders) for orders in account.orders.values()),
        "open_orders": sum(len(orders) for orders in account.open_orders.values()),
    }


def _order_view(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "api_key": order.account.api_key,
        "client_id": order.client_id,
        "symbol": order.pair.symbol,
        "side": order.side.value,
        "kind": order.kind.value,
        "trigger": order.trigger and order.trigger.value,
        "stop_price": _plain(order.stop_price) if order.trigger else None,
        "list_id": order.list_id,
        "status": order.status.value,
        "quantity": _plain(order.quantity),
        "executed": _plain(order.executed),
        "executed_quote": _plain(order.executed_quote),
        "created_ms": order.created_ms,
    }


def _fault_view(fault: Fault) -> dict[str, Any]:
    if fault.path is None:
        path = "*"
    else:
        path = f"{fault.method} {fault.path}" if fault.method else fault.path
    return {
        "id": fault.id,
        "kind": fault.kind.value,
        "times": fault.remaining,
        "probability": fault.probability,
        "path": path,
        "api_key": fault.api_key,
        "seconds": fault.seconds,
        "accepted": fault.accepted,
        "status": fault.status,
        "fraction": str(fault.fraction),
        "rest": "expire" if fault.rest_expires else "fill",
        "happened": fault.happened,
    }


async def _read(request: Request, model: type[Body]) -> Body:
    try:
        data = json.loads(await request.body())
    except ValueError:
        raise Unusable("The body is not JSON.") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Unusable(f"{where}: {first['msg']}.") from None


def _said_plainly(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Unusable as error:
            return JSONResponse({"error": str(error)}, status_code=error.status)

    return answer
