"""The engine's SQL: webhooks, signals, decisions, positions.

Each method runs in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import Column, bindparam, select, union_all
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aristobot.contracts.messages import CancelDecision, Decision, OrderEvent, WebhookReceived
from aristobot.contracts.streams import BrokerKey
from aristobot.core.positions import Executed, Exit, Position, PositionState
from aristobot.engine.decision import Verdict
from aristobot.engine.strategy_decision import Ruling
from aristobot.platform.statements import Statement
from aristobot.platform.tables import decisions, position_orders, positions, signals, webhooks


def _look_back(recorded: Column[str]) -> Statement:
    """Whether the row of `recorded` is there, and the broker's newest command of either kind."""
    newest = union_all(
        *(
            select(
                select(table.c.command_id, table.c.processed_at)
                .where(
                    table.c.owner == bindparam("owner"),
                    table.c.broker == bindparam("broker"),
                    table.c.command_id.is_not(None),
                )
                .order_by(order.desc())
                .limit(1)
                .subquery()
            )
            for table, order in (
                (webhooks, webhooks.c.stream_sequence),
                (decisions, decisions.c.processed_at),
            )
        )
    ).subquery()
    return Statement(
        select(
            select(recorded).where(recorded == bindparam("id")).exists().label("is_recorded"),
            select(newest.c.command_id)
            .order_by(newest.c.processed_at.desc())
            .limit(1)
            .scalar_subquery()
            .label("last_command"),
        )
    )


_LOOK_BACK_WEBHOOK = _look_back(webhooks.c.id)
_LOOK_BACK_DECISION = _look_back(decisions.c.id)
_CLAIM_SIGNAL = Statement(
    insert(signals).on_conflict_do_nothing().returning(signals.c.webhook_id),
    columns=("owner", "signal_key", "webhook_id"),
)
_WEBHOOK_COLUMNS = tuple(column.name for column in webhooks.c if column.name != "processed_at")
_INSERT_WEBHOOK = Statement(
    insert(webhooks).on_conflict_do_nothing().returning(webhooks.c.id), columns=_WEBHOOK_COLUMNS
)
_DECISION_COLUMNS = tuple(column.name for column in decisions.c if column.name != "processed_at")
_INSERT_DECISION = Statement(
    insert(decisions).on_conflict_do_nothing().returning(decisions.c.id), columns=_DECISION_COLUMNS
)
_position = select(positions).where(
    positions.c.owner == bindparam("owner"),
    positions.c.broker == bindparam("broker"),
    positions.c.symbol == bindparam("symbol"),
    positions.c.holder == bindparam("holder"),
)
_READ_POSITION = Statement(_position)
_LOCK_POSITION = Statement(_position.with_for_update())
_POSITION_VALUES = (
    "state",
    "quantity",
    "cost",
    "bought",
    "spent",
    "sold",
    "dust",
    "stop_loss_price",
    "stop_loss_fraction",
    "take_profit_price",
    "take_profit_fraction",
    "last_command_id",
    "updated_at",
)
_new_position = insert(positions)
_SAVE_POSITION = Statement(
    _new_position.on_conflict_do_update(
        index_elements=["owner", "broker", "symbol", "holder"],
        set_={name: _new_position.excluded[name] for name in _POSITION_VALUES},
    ),
    columns=("owner", "broker", "symbol", "holder", *_POSITION_VALUES),
)
_KNOWN_EXECUTION = Statement(
    select(position_orders).where(position_orders.c.command_id == bindparam("command_id"))
)
_EXECUTION_VALUES = ("executed_quantity", "executed_quote", "base_fee")
_new_execution = insert(position_orders)
_SAVE_EXECUTION = Statement(
    _new_execution.on_conflict_do_update(
        index_elements=["command_id"],
        set_={name: _new_execution.excluded[name] for name in _EXECUTION_VALUES},
    ),
    columns=("command_id", "owner", *_EXECUTION_VALUES),
)


@dataclass(frozen=True, slots=True)
class Holding:
    """Whose position in what: a symbol on a broker, held by its webhooks or by one strategy."""

    key: BrokerKey
    symbol: str
    holder: str

    def columns(self) -> dict[str, str]:
        """What names the position's row."""
        return {
            "owner": self.key.owner,
            "broker": self.key.broker,
            "symbol": self.symbol,
            "holder": self.holder,
        }


@dataclass(frozen=True, slots=True)
class LookBack:
    """What has happened before a message: is it recorded, which command was the broker's last."""

    is_recorded: bool
    last_command: str | None


async def look_back_webhook(
    connection: AsyncConnection, key: BrokerKey, webhook_id: str
) -> LookBack:
    return await _looked_back(_LOOK_BACK_WEBHOOK, connection, key, webhook_id)


async def look_back_decision(
    connection: AsyncConnection, key: BrokerKey, decision_id: str
) -> LookBack:
    return await _looked_back(_LOOK_BACK_DECISION, connection, key, decision_id)


async def last_command(connection: AsyncConnection, key: BrokerKey) -> str | None:
    """The broker's newest command, whether of a webhook or of a decision."""
    return (await _looked_back(_LOOK_BACK_DECISION, connection, key, "")).last_command


async def _looked_back(
    statement: Statement, connection: AsyncConnection, key: BrokerKey, identifier: str
) -> LookBack:
    (row,) = await statement.rows(connection, id=identifier, owner=key.owner, broker=key.broker)
    return LookBack(row["is_recorded"], row["last_command"])


async def claim_signal(
    connection: AsyncConnection, owner: str, signal_key: str, webhook_id: str
) -> bool:
    """Take the signal for this webhook; False when another one has acted on it already."""
    taken = await _CLAIM_SIGNAL.row(
        connection, owner=owner, signal_key=signal_key, webhook_id=webhook_id
    )
    return taken is not None


async def insert_webhook(
    connection: AsyncConnection,
    *,
    key: BrokerKey,
    webhook_id: str,
    sequence: int,
    webhook: WebhookReceived,
    verdict: Verdict,
    trace_id: str,
    traceparent: str | None,
) -> bool:
    """Record the webhook; False when it is recorded already."""
    alert = verdict.alert
    row: dict[str, Any] = dict.fromkeys(_WEBHOOK_COLUMNS) | {
        "id": webhook_id,
        "owner": key.owner,
        "broker": key.broker,
        "stream_sequence": sequence,
        "delivery_key": webhook.delivery_key,
        "signal_key": verdict.signal_key,
        "received_at": webhook.received_at,
        "source": webhook.source,
        "content_type": webhook.content_type,
        "body": webhook.body,
        "outcome": verdict.outcome.value,
        "code": verdict.code,
        "reason": verdict.reason,
        "command_id": verdict.command.command_id if verdict.command else None,
        "trace_id": trace_id,
        "traceparent": traceparent,
    }
    if alert is not None:
        row |= {
            "action": alert.action.value,
            "symbol": alert.symbol,
            "interval": alert.interval.text if alert.interval else None,
            "bar_time": alert.bar_time,
            "indicator": alert.indicator,
            "percent": alert.percent,
            "price": alert.price,
            "stop_loss_price": alert.stop_loss_price,
            "take_profit_price": alert.take_profit_price,
        }
    return await _INSERT_WEBHOOK.row(connection, **row) is not None


async def insert_decision(
    connection: AsyncConnection,
    *,
    key: BrokerKey,
    row_id: str,
    decision: Decision | CancelDecision,
    ruling: Ruling,
    trace_id: str,
    traceparent: str | None,
) -> bool:
    """Record the decision; False when it is recorded already."""
    row: dict[str, Any] = dict.fromkeys(_DECISION_COLUMNS) | {
        "id": row_id,
        "owner": key.owner,
        "broker": key.broker,
        "active_strategy": decision.active_strategy,
        "symbol": decision.symbol,
        "asked_by": decision.asked_by.value,
        "decided_at": decision.decided_at,
        "outcome": ruling.outcome.value,
        "code": ruling.code,
        "reason": ruling.reason,
        # Of an order alone: the next order is sized once this one is settled.
        "command_id": ruling.order.command_id if ruling.order else None,
        "trace_id": trace_id,
        "traceparent": traceparent,
    }
    if isinstance(decision, Decision):
        row |= _wish(decision)
    return await _INSERT_DECISION.row(connection, **row) is not None


async def is_recorded_as(connection: AsyncConnection, decision: Decision) -> bool:
    """Whether the row under the decision's id wishes the same."""
    wish = _wish(decision)
    columns = (decisions.c[name] for name in wish)
    query = select(*columns).where(decisions.c.id == decision.decision_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return row is not None and dict(row) == wish


def _wish(decision: Decision) -> dict[str, Any]:
    """What it wants, as its row says it."""
    stop, target = decision.stop_loss, decision.take_profit
    return {
        "timeframe": decision.timeframe.value,
        "candle_close": decision.candle_close,
        "side": decision.side.value,
        "quote_amount": decision.quote_amount,
        "stop_loss": stop and stop.model_dump(mode="json"),
        "take_profit": target and target.model_dump(mode="json"),
    }


async def read_position(connection: AsyncConnection, holding: Holding) -> Position:
    """The position as it stands at this moment."""
    return _position_of(await _READ_POSITION.row(connection, **holding.columns()))


async def lock_position(connection: AsyncConnection, holding: Holding) -> Position:
    """Read the position and keep others from changing it until the transaction ends."""
    return _position_of(await _LOCK_POSITION.row(connection, **holding.columns()))


def _position_of(row: asyncpg.Record | None) -> Position:
    if row is None:
        return Position()
    return Position(
        state=PositionState(row["state"]),
        bought=row["bought"],
        spent=row["spent"],
        sold=row["sold"],
        dust=row["dust"],
        stop_loss=Exit(row["stop_loss_price"], row["stop_loss_fraction"]),
        take_profit=Exit(row["take_profit_price"], row["take_profit_fraction"]),
        last_command_id=row["last_command_id"],
    )


async def save_position(
    connection: AsyncConnection, holding: Holding, position: Position, at: datetime
) -> None:
    await _SAVE_POSITION.run(
        connection,
        **holding.columns(),
        state=position.state.value,
        quantity=position.quantity,
        cost=position.cost,
        bought=position.bought,
        spent=position.spent,
        sold=position.sold,
        dust=position.dust,
        stop_loss_price=position.stop_loss.price,
        stop_loss_fraction=position.stop_loss.fraction,
        take_profit_price=position.take_profit.price,
        take_profit_fraction=position.take_profit.fraction,
        last_command_id=position.last_command_id,
        updated_at=at,
    )


async def known_execution(connection: AsyncConnection, command_id: str) -> Executed:
    """How much of an order is in its position already."""
    row = await _KNOWN_EXECUTION.row(connection, command_id=command_id)
    if row is None:
        return Executed()
    return Executed(row["executed_quantity"], row["executed_quote"], row["base_fee"])


async def save_execution(connection: AsyncConnection, event: OrderEvent, now: Executed) -> None:
    await _SAVE_EXECUTION.run(
        connection,
        command_id=event.command_id,
        owner=event.owner,
        executed_quantity=now.quantity,
        executed_quote=now.quote,
        base_fee=now.base_fee,
    )
