"""What a Broker needs and how it fares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aristobot.contracts.kubernetes import BROKER_LABEL, gateway_name
from aristobot.contracts.resources import Broker, Environment
from aristobot.contracts.workload import credentials_secret
from aristobot_operator.cache import Cache, name_of, namespace_of
from aristobot_operator.conditions import State, bad, good
from aristobot_operator.kube import Object
from aristobot_operator.plans.concern import winds_down
from aristobot_operator.plans.deployment import deployed, terminating
from aristobot_operator.plans.seen import Problem, parsed
from aristobot_operator.reasons import Condition, Reason

#: What a gateway reads of the Secret with its account's keys; whatever else stands there.
CREDENTIALS = ("apiKey", "apiSecret")


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """`broker` None: it can't be read, and nothing is changed. `states` without Ready."""

    broker: Broker | None
    states: tuple[State, ...]

    @property
    def may_run(self) -> bool:
        """Whether the gateway is to be made (or kept as it was)."""
        wanted = (Condition.ACCEPTED, Condition.CREDENTIALS_RESOLVED)
        return all(each.is_true for each in self.states if each.type in wanted)


def plan_broker(
    cache: Cache, found: Object, simulator: Problem | None, obstacle: State | None
) -> BrokerPlan:
    """`simulator`: why the simulated account could not be opened; None when it is, or needn't.

    `obstacle`: what keeps its pod from being made.
    """
    broker = parsed(cache, found, Broker)
    if isinstance(broker, Problem):
        return BrokerPlan(None, (bad(Condition.ACCEPTED, broker.reason, broker.text),))
    namespace, name = namespace_of(found), name_of(found)
    accepted = _accepted(cache, namespace, broker)
    pods = cache.labelled("Pod", namespace, BROKER_LABEL, name)
    deployment = cache.get("Deployment", namespace, gateway_name(name))
    return BrokerPlan(
        broker,
        (
            accepted,
            _credentials(cache, namespace, broker, simulator),
            obstacle or deployed(deployment, pods, replicas=1),
        ),
    )


def _accepted(cache: Cache, namespace: str, broker: Broker) -> State:
    number = broker.spec.number
    if number is not None:
        for other in cache.all("Broker", namespace):
            same = other.get("spec", {}).get("number") == number
            if same and name_of(other) < broker.metadata.name:
                return bad(
                    Condition.ACCEPTED,
                    Reason.DUPLICATE_NUMBER,
                    f"number {number} is that of Broker {name_of(other)} too, so an alert could "
                    "mean either: give one of them another spec.number",
                )
    return good(Condition.ACCEPTED, Reason.ACCEPTED, "its spec can be carried out")


def _credentials(cache: Cache, namespace: str, broker: Broker, simulator: Problem | None) -> State:
    if simulator is not None:
        return bad(Condition.CREDENTIALS_RESOLVED, simulator.reason, simulator.text)
    name = credentials_secret(broker)
    secret = cache.get("Secret", namespace, name)
    entries = (secret or {}).get("digests", {})
    missing = [entry for entry in CREDENTIALS if entry not in entries]
    if not missing:
        return good(
            Condition.CREDENTIALS_RESOLVED, Reason.CREDENTIALS_FOUND, f"Secret {name} has them"
        )
    if broker.spec.environment is Environment.SIMULATOR:
        text = "its account at the simulator is being opened"
    elif secret is None:
        text = f"there is no Secret {name}: apply it with apiKey and apiSecret"
    else:
        text = f"Secret {name} lacks {' and '.join(missing)}: add it"
    return bad(Condition.CREDENTIALS_RESOLVED, Reason.CREDENTIALS_MISSING, text)


def users_that_wind_down(cache: Cache, namespace: str, broker: str) -> list[str]:
    """Names of the active strategies that will need the broker's gateway when they are deleted."""
    return [
        name_of(each)
        for each in cache.all("ActiveStrategy", namespace)
        if each["spec"]["brokerRef"]["name"] == broker and winds_down(each)
    ]


def ready(states: Iterable[State]) -> State:
    """The summary: the first condition that isn't true says why not."""
    for state in states:
        if not state.is_true:
            return State(Condition.READY, "False", state.reason, state.message)
    return good(Condition.READY, Reason.READY, "the gateway runs")


def going(users: list[str], others: list[str]) -> State:
    """The summary of a Broker that is deleted. `others`: finalizers that aren't ours."""
    if users:
        text = f"it goes when these have wound down: {', '.join(users)}"
        return bad(Condition.READY, Reason.IN_USE, text)
    return terminating(others)


def phase(states: Iterable[State]) -> str:
    """One word for people."""
    by_type = {state.type: state for state in states}
    summary = by_type[Condition.READY]
    if summary.is_true:
        return "Ready"
    deployed_state = by_type.get(Condition.DEPLOYED)
    is_starting = summary.reason == Reason.DEPLOYING and deployed_state is not None
    return "Starting" if is_starting else "Failed"
