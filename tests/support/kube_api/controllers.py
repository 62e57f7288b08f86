"""What a cluster's controllers would do with Deployments: make them Ready, without any pod."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.kube_api.failures import Failure
from tests.support.kube_api.store import Change, Store, Write

Object = dict[str, Any]
_CONTROLLER = Write("kube-controller-manager", "status")


class DeploymentController:
    """Gives each written Deployment the status of one whose pods run, when `switched_on()`."""

    def __init__(self, store: Store, switched_on: Callable[[], bool]) -> None:
        self._store = store
        self._switched_on = switched_on

    def changed(self, change: Change) -> None:
        """A listener of the store."""
        new = change.new
        if change.kind.resource != "deployments.apps" or new is None or not self._switched_on():
            return
        if new.get("status", {}).get("observedGeneration") != new["metadata"]["generation"]:
            place = (new["metadata"]["namespace"], new["metadata"]["name"])
            # Not within the write: the writer's answer must not show what comes later.
            asyncio.get_running_loop().call_soon(self._settle, *place)

    def _settle(self, namespace: str, name: str) -> None:
        try:
            self.settle(self._store, namespace, name, ready=True)
        except Failure as failure:
            if failure.code != 404:  # Deleted in the meantime.
                raise

    @staticmethod
    def settle(store: Store, namespace: str, name: str, *, ready: bool) -> Object:
        kind = store.kind_of("apps/v1", "Deployment")
        assert kind is not None
        live = store.get(kind, namespace, name)
        replicas = live["spec"]["replicas"]
        there = replicas if ready else 0
        available = ready or not replicas
        reason = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
        conditions = [
            ("Available", "True" if available else "False", reason),
            ("Progressing", "True", "NewReplicaSetAvailable" if ready else "ReplicaSetUpdated"),
        ]
        counts = {"replicas": replicas, "updatedReplicas": replicas}
        counts |= {"readyReplicas": there, "availableReplicas": there}
        counts["unavailableReplicas"] = replicas - there
        status = {
            "observedGeneration": live["metadata"]["generation"],
            # The API leaves out counts of zero; in a merge patch, null takes them out.
            **{name: count or None for name, count in counts.items()},
            "conditions": [
                {"type": t, "status": s, "reason": r, "message": ""} for t, s, r in conditions
            ],
        }
        revision = {"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}}
        store.merge_patch(kind, namespace, name, revision, Write(_CONTROLLER.manager))
        return store.merge_patch(kind, namespace, name, {"status": status}, _CONTROLLER)
