"""The heartbeats of each market that a broker trades on: what `aristobot up` runs of them.

Named `heartbeat-<market>-a` and `-b`, so that each market's are told apart. Deliberately not
here: what a heartbeat does, and keeping processes alive (`local.supervisor`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from aristobot.contracts.markets import parse_market
from aristobot.contracts.resources import Environment
from aristobot.heartbeat.server import MARKET_URL
from aristobot.local import parts
from aristobot.local.layout import MOST_HEARTBEATS
from aristobot.local.parts import Surroundings
from aristobot.local.process import ProcessSpec
from aristobot.local.supervisor import Supervisor

logger = logging.getLogger(__name__)

REPLICAS = ("a", "b")
ROLE = "heartbeat"
_PREFIX = "heartbeat-"


class Heartbeats:
    """Keeps the processes equal to the markets that there are. `replicas`: of each, at most two."""

    def __init__(self, supervisor: Supervisor, around: Surroundings, *, replicas: int) -> None:
        self._supervisor = supervisor
        self._around = around
        self._replicas = REPLICAS[:replicas]
        self._slots: dict[str, int] = {}

    async def make_equal(self, markets: Collection[str]) -> None:
        """Start the heartbeats of `markets` that don't run, remove those of other markets."""
        wanted = {
            f"{_PREFIX}{market}-{replica}": (market, replica)
            for market in sorted(markets)
            for replica in self._replicas
        }
        for state in self._supervisor.states():
            if state.name.startswith(_PREFIX) and state.name not in wanted:
                await self._supervisor.remove(state.name)
                self._slots.pop(state.name, None)
        for name, (market, replica) in wanted.items():
            slot = self._slot(name)
            if slot is None:
                logger.error("no port is left for a heartbeat", extra={"part": name})
                continue
            await self._supervisor.put(self._spec(name, market, replica, slot))

    def _slot(self, name: str) -> int | None:
        if name not in self._slots:
            free = set(range(MOST_HEARTBEATS)) - set(self._slots.values())
            if not free:
                return None
            self._slots[name] = min(free)
        return self._slots[name]

    def _spec(self, name: str, market: str, replica: str, slot: int) -> ProcessSpec:
        around = self._around
        port = around.ports.heartbeat_admin(slot)
        environment = around.environment(ROLE, database=True, admin_port=port)
        if parse_market(market)[1] is Environment.SIMULATOR:
            environment[MARKET_URL] = around.simulator_url.replace("http", "ws", 1)
        return parts.service(
            around,
            name,
            ("heartbeat", "--market", market, "--replica", f"heartbeat-{replica}"),
            environment,
            probe_port=port,
        )
