"""One pod of ours, a gateway's or a runner's: the Secret with its credentials, and its Deployment.

`obstacle` says before anything is done what is in the way, so that the status is written once and
as it is; then `ensure` makes both, or `rest` scales down. Deliberately not here: what the pod is
made of (`builders`), and how it fares (`plans.deployment`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aristobot.contracts.nats_roles import NatsRole
from aristobot_operator.acting.children import Children, Step, Whose, whose
from aristobot_operator.acting.credentials import Credentials
from aristobot_operator.acting.events import Events
from aristobot_operator.cache import namespace_of
from aristobot_operator.conditions import State, bad
from aristobot_operator.kube import Denied, Object
from aristobot_operator.reasons import Condition, EventReason, Reason


@dataclass(frozen=True, slots=True)
class Pods:
    """Secret and Deployment of a pod have the same name."""

    events: Events
    children: Children
    credentials: Credentials
    #: What the API server said when it last refused something, by the owner's uid.
    _denied: dict[str, str] = field(default_factory=dict)

    async def obstacle(self, owner: Object, name: str) -> State | None:
        """What `Deployed` has to say of a name that isn't ours, or of a refusal. None: go on."""
        uid = owner["metadata"]["uid"]
        for kind in ("Deployment", "Secret"):
            found = await self.children.find(kind, namespace_of(owner), name)
            match None if found is None else whose(uid, found):
                case Whose.THEIRS:
                    text = f"there is a {kind} {name} that isn't ours: remove it, or rename the "
                    return bad(Condition.DEPLOYED, Reason.NAME_TAKEN, f"{text}resource")
                case Whose.GOING:
                    text = f"the former {kind} {name} is still going"
                    return bad(Condition.DEPLOYED, Reason.DEPLOYING, text)
        if said := self._denied.get(uid):
            return bad(Condition.DEPLOYED, Reason.DENIED, f"Kubernetes refuses it: {said}")
        return None

    async def ensure(
        self,
        owner: Object,
        name: str,
        role: NatsRole,
        make: Callable[[str], Object],
        *,
        component: str,
        label: Mapping[str, str],
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Make its Secret and its Deployment as they should be; ask for an `obstacle` before.

        `make`: the Deployment, given the digest of what stands in the Secret. Raises `Denied`,
        which the next `obstacle` tells.
        """
        uid = owner["metadata"]["uid"]
        try:
            digest = await self.credentials.ensure(
                namespace_of(owner),
                name,
                role,
                component=component,
                more=more,
                labels=label,
                owner=owner,
            )
            step = await self.children.ensure(make(digest))
        except Denied as denial:
            self._denied[uid] = str(denial)
            raise
        self._denied.pop(uid, None)
        if step is Step.REPAIR:
            text = f"Deployment {name} was changed by somebody: put back"
            await self.events.write(owner, "Normal", EventReason.DRIFT_REPAIRED, text)

    async def rest(self, owner: Object, name: str) -> None:
        """Scale it to zero; what isn't there isn't made."""
        await self.children.rest(owner, name)
