"""Answers what others ask a gateway: the account for sizing, balances, whether it is alive."""

from __future__ import annotations

import time
from collections.abc import Mapping

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import (
    AccountQuery,
    AccountReply,
    BalanceMessage,
    CandlesQuery,
    CandlesReply,
    ClosedCandle,
    PingQuery,
    PingReply,
    QueryEnvelope,
    QueryReply,
    SizingQuery,
    SizingReply,
    SymbolRulesMessage,
)
from aristobot.exchanges.port import ExchangeClient
from aristobot.gateway.account_view import AccountView
from aristobot.gateway.protection_book import ProtectionBook
from aristobot.gateway.settlement import Settlement
from aristobot.platform import telemetry
from aristobot.platform.query import answered


class Queries:
    def __init__(
        self,
        client: ExchangeClient,
        account: AccountView,
        settlement: Settlement,
        protection: ProtectionBook,
        *,
        market: str,
    ) -> None:
        self._client = client
        self._market = market
        self._account = account
        self._settlement = settlement
        self._protection = protection

    async def respond(self, data: bytes, headers: Mapping[str, str]) -> bytes:
        """Answer one request; whatever goes wrong becomes a failure that says so.

        Raises `Fenced` instead of answering for a successor, whose orders this one doesn't know of.
        """
        with telemetry.consumer_span(names.GATEWAY_QUERY, headers):
            return await answered(self._answer(data), by="gateway")

    async def _answer(self, data: bytes) -> QueryReply:
        query = QueryEnvelope.model_validate_json(data).query
        match query:
            case SizingQuery():
                return QueryReply(sizing=await self._sizing(query))
            case AccountQuery():
                return QueryReply(account=await self._balances())
            case PingQuery():
                return QueryReply(ping=await self._ping())
            case CandlesQuery():
                return QueryReply(candles=await self._candles(query))

    async def _sizing(self, query: SizingQuery) -> SizingReply:
        rules = await self._account.rules(query.symbol)
        if query.after_command is not None:
            await self._settlement.wait(query.after_command)
        balances = await self._account.balances()
        base, quote = balances.get(rules.base), balances.get(rules.quote)
        # A sale cancels the holder's own stops and targets first, so what they lock can be sold.
        # After the balances: if nobody has replaced us by now, those rest on all orders there are.
        ours = await self._protection.locked(query.symbol, query.holder)
        return SizingReply(
            rules=SymbolRulesMessage.from_rules(rules),
            free_base=base.free + min(base.locked, ours) if base else 0,
            free_quote=quote.free if quote else 0,
            price=await self._account.price(query.symbol),
        )

    async def _balances(self) -> AccountReply:
        await self._account.refresh()
        balances = await self._account.balances()
        return AccountReply(
            balances=tuple(
                BalanceMessage(asset=b.asset, free=b.free, locked=b.locked)
                for b in sorted(balances.values(), key=lambda b: b.asset)
                if b.free or b.locked
            )
        )

    async def _candles(self, query: CandlesQuery) -> CandlesReply:
        candles = await self._client.candles(
            query.symbol, query.timeframe, start=query.start, end=query.end, limit=query.limit
        )
        return CandlesReply(
            market=self._market,
            candles=tuple(ClosedCandle.of(self._market, candle) for candle in candles),
        )

    async def _ping(self) -> PingReply:
        started = time.perf_counter()
        await self._client.measure_clock()
        took_ms = (time.perf_counter() - started) * 1000
        return PingReply(
            exchange_ms=round(took_ms, 2),
            offset_ms=self._client.now_ms() - time.time() * 1000,
            stream_connected=self._account.is_live,
        )
