"""Publishes a decision for the engine to judge: of a strategy's runner, or of whoever asks by hand.

Under its own id, so that repeating it is safe. Deliberately not here: what is decided.
"""

from __future__ import annotations

from aristobot.contracts import trace_names as names
from aristobot.contracts.messages import CancelDecision, Decision
from aristobot.contracts.streams import DECISIONS, decision_subject
from aristobot.platform import telemetry
from aristobot.platform.bus import Bus, PublishAck


async def publish_decision(bus: Bus, decision: Decision | CancelDecision) -> PublishAck:
    """Publish it, and wait until the stream has it. Raises `Retryable`."""
    with telemetry.producer_span(names.STRATEGIES_DECIDED) as carrier:
        return await bus.publish(
            DECISIONS,
            decision_subject(decision.key, decision.active_strategy),
            decision.encode(),
            message_id=decision.decision_id,
            headers=carrier,
        )
