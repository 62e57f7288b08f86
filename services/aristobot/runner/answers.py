"""What comes back from a sealed process, checked: everything in it is a stranger's.

Flow: `sealed` hands a decoded frame to `parse_answer`, and a decision to `to_strategy_answer`,
where its numbers become `Decimal` and its levels are read (`core.levels`). A strategy can answer
what it likes about its own trades, and nothing else: sizes are bounded, words come from lists, and
text is only ever shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aristobot.contracts.messages import Level, StrategyContext
from aristobot.core.errors import AristobotError
from aristobot.core.levels import BadLevel, LevelKind, LevelUse, ReturnedLevel, read_level
from aristobot.core.strategy_code import Problem

#: A float's balance may be this much more than the exact one.
_ROUNDING = Decimal("1.000000001")
#: No venue's quote currency is finer.
_FINEST = Decimal("1e-8")


class StrategyFailed(AristobotError):
    """A strategy gave no usable answer; the message is for its author.

    `reason`: one CamelCase word for the resource's status. `line`: in the author's code. `printed`:
    what the code printed meanwhile. Whether its process still runs: `SealedStrategy.is_alive`.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        line: int | None = None,
        printed: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.reason = reason
        #: The message without the line.
        self.plain = message
        self.line = line
        self.printed = printed

    @property
    def is_ours(self) -> bool:
        """Whether the strategy has no part in it: its process died with the zygote."""
        return self.reason == "SandboxLost"


@dataclass(frozen=True, slots=True)
class StrategyAnswer:
    """A decision on one candle. `quote_amount` and levels are set for a buy alone.

    `remark`: why a wish to buy came to nothing; None when it didn't.
    """

    action: Literal["buy", "sell", "none"]
    quote_amount: Decimal | None = None
    stop_loss: Level | None = None
    take_profit: Level | None = None
    printed: tuple[str, ...] = ()
    remark: str | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Text = Annotated[str, Field(max_length=4000)]
_Number = Annotated[str, Field(max_length=64)]
_Place = Annotated[int, Field(ge=0, le=10_000_000)]


class Failure(_Strict):
    code: Literal[
        "BadRequest",
        "BadReturnValue",
        "Exception",
        "ForbiddenCall",
        "NoStrategyClass",
        "NotSealed",
        "OutOfMemory",
    ]
    message: _Text
    line: _Place | None = None


class _Problem(_Strict):
    code: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]{1,40}$")]
    message: _Text
    line: _Place | None
    column: _Place | None

    def to_problem(self) -> Problem:
        return Problem(self.code, self.message, self.line, self.column)


class Loaded(_Strict):
    class_name: Annotated[str, Field(max_length=200)] | None
    problems: Annotated[list[_Problem], Field(max_length=1000)]


class Warmed(_Strict):
    candles: Annotated[int, Field(ge=0, le=1000)]


class _Level(_Strict):
    value: _Number
    kind: Literal["price", "fraction"] | None


class Decided(_Strict):
    action: Literal["buy", "sell", "none"]
    size: _Number | None = None
    stop: _Level | None = None
    target: _Level | None = None


_Result = TypeVar("_Result", Loaded, Warmed, Decided)


class Answer(_Strict):
    """One frame from a child. Exactly one of `done` and `failed` is set."""

    id: int
    done: dict[str, Any] | None = None
    failed: Failure | None = None
    printed: Annotated[list[Annotated[str, Field(max_length=600)]], Field(max_length=60)] = []


def parse_answer(content: dict[str, Any], request_id: int) -> Answer:
    """Check a frame. Raises `StrategyFailed` (BadAnswer, or what the child says)."""
    try:
        answer = Answer.model_validate(content)
    except ValidationError:
        raise bad_answer() from None
    printed = tuple(answer.printed)
    if answer.failed is not None:
        failed = answer.failed
        raise StrategyFailed(failed.code, failed.message, line=failed.line, printed=printed)
    if answer.id != request_id or answer.done is None:
        raise bad_answer()
    return answer


def bad_answer() -> StrategyFailed:
    return StrategyFailed(
        "BadAnswer", "the strategy's process answered what no strategy answers, and was ended"
    )


def parse_done(model: type[_Result], answer: Answer) -> _Result:
    """The answer's content. Raises `StrategyFailed` (BadAnswer)."""
    try:
        return model.model_validate(answer.done)
    except ValidationError:
        raise bad_answer() from None


def to_strategy_answer(
    decided: Decided, latest_price: Decimal, context: StrategyContext, printed: tuple[str, ...]
) -> StrategyAnswer:
    """What the decision comes to. Raises `StrategyFailed` when a number in it can't be meant."""
    holds = context.quantity > 0
    if decided.action == "none" or decided.action == ("buy" if holds else "sell"):
        return StrategyAnswer("none", printed=printed)
    if decided.action == "sell":
        return StrategyAnswer("sell", printed=printed)
    amount = _amount(decided.size, context.free_quote, printed)
    if amount == 0:
        remark = "calculate_position_size() returned 0, so nothing is bought"
        return StrategyAnswer("none", printed=printed, remark=remark)
    return StrategyAnswer(
        "buy",
        quote_amount=amount,
        stop_loss=_level(decided.stop, LevelUse.STOP, latest_price, printed),
        take_profit=_level(decided.target, LevelUse.TARGET, latest_price, printed),
        printed=printed,
    )


def _amount(size: str | None, free_quote: Decimal, printed: tuple[str, ...]) -> Decimal:
    amount = _decimal(size)
    if not amount.is_finite() or amount < 0:
        raise StrategyFailed(
            "BadPositionSize",
            f"calculate_position_size() returned {size}; return an amount of quote currency, 0 or "
            "more",
            printed=printed,
        )
    if amount > free_quote * _ROUNDING:
        raise StrategyFailed(
            "BadPositionSize",
            f"calculate_position_size() returned {amount:f}, and {free_quote:f} is free",
            printed=printed,
        )
    # A float's noise (100.05000000000001) is not what its author meant.
    return min(amount.quantize(_FINEST), free_quote)


def _level(
    level: _Level | None, use: LevelUse, latest_price: Decimal, printed: tuple[str, ...]
) -> Level | None:
    if level is None:
        return None
    returned = ReturnedLevel(
        _decimal(level.value), LevelKind(level.kind) if level.kind is not None else None
    )
    try:
        read = read_level(returned, use, latest_price)
    except BadLevel as bad:
        reason = "AmbiguousLevel" if bad.code == "ambiguous_level" else "BadLevel"
        raise StrategyFailed(reason, str(bad), printed=printed) from None
    return read and Level(kind=read.kind.value, value=read.value)


def _decimal(text: str | None) -> Decimal:
    try:
        number = Decimal(text or "")
    except InvalidOperation:
        raise bad_answer() from None
    # A float's range; 1E+999999 is short as text, and not as a number written out.
    if number.is_finite() and number and abs(number.adjusted()) > 400:
        raise bad_answer()
    return number
