"""Notices a watch that has fallen silent: what the API server has and the watch hasn't shown.

Known of every watcher there is (nolar/kopf#585 and others): the connection stands, nothing comes,
and all looks well. So every kind is listed now and then and compared with the cache. A difference
that is still there a while later, while the watch of the kind showed nothing at all, ends the
process; the new one lists everything. A watch that goes on showing others may only be behind, when
thousands of objects change at once, and a new process would be further behind; it has a minute.
Nothing that a user changed can go unseen for longer. In a quiet cluster nothing is missed, and
nothing is noticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from aristobot.contracts.kubernetes import MANAGED_BY_LABEL, OPERATOR
from aristobot.core.errors import AristobotError
from aristobot_operator import metrics
from aristobot_operator.cache import WATCHED, Cache, Difference
from aristobot_operator.kube import Kube

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
AGAIN_SECONDS = 10.0
#: So often a watch that moves is looked at again.
_LOOKS = 6
_CHILDREN = ("Deployment", "Pod")


class SilentWatch(AristobotError):
    """A watch hasn't shown what is there."""


def silent(first: list[Difference], second: list[Difference]) -> list[Difference]:
    """Those of the first look that the watch has shown nothing about since.

    What was being deleted or changed again between the two looks is no proof: it must have been
    there (or gone) both times.
    """
    later = {each.key: each for each in second}
    return [
        each
        for each in first
        if each.key in later
        and later[each.key].seen == each.seen
        and (later[each.key].there is None) == (each.there is None)
    ]


class Canary:
    """`shown`: how much the watch of each kind has shown so far."""

    def __init__(
        self, kube: Kube, cache: Cache, namespaces: list[str], shown: Mapping[str, int]
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._namespaces = namespaces
        self._shown = shown

    async def run(self) -> None:
        """Look for ever. Raises `SilentWatch`; an API server that is away proves nothing."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._compare()
            except SilentWatch:
                raise
            except AristobotError as error:
                logger.warning("watches can't be compared", extra={"error": str(error)})
                continue
            metrics.WATCH_AGREED.set_to_current_time()

    async def _compare(self) -> None:
        unseen = await self._differences()
        for look in range(_LOOKS):
            if not unseen:
                return
            moved = self._moves()
            await asyncio.sleep(AGAIN_SECONDS)
            unseen = self._without_gone(silent(unseen, await self._differences()))
            is_last = look == _LOOKS - 1
            lost = unseen if is_last else [each for each in unseen if not moved(each)]
            if lost:
                raise SilentWatch(_sentence(lost))

    def _without_gone(self, unseen: list[Difference]) -> list[Difference]:
        """Forget what went away between a listing and the watch after it: none ever shows that.

        kopf lists at its start and after a lost connection, and a list only tells what is there.
        """
        for each in unseen:
            if each.there is None:
                logger.warning("gone without a word", extra={"object": str(each.key)})
                self._cache.forget(each)
        return [each for each in unseen if each.there is not None]

    def _moves(self) -> Callable[[Difference], bool]:
        """Tells later whether the watch of a difference's kind has shown anything since now."""
        before = dict(self._shown)
        return lambda each: self._shown.get(each.key.kind, 0) != before.get(each.key.kind, 0)

    async def _differences(self) -> list[Difference]:
        found: list[Difference] = []
        for namespace in self._namespaces:
            for kind in WATCHED:
                labels = {MANAGED_BY_LABEL: OPERATOR} if kind in _CHILDREN else None
                listed = await self._kube.list(kind, namespace, labels=labels)
                found += self._cache.mismatches(kind, namespace, listed)
        return found


def _sentence(unseen: list[Difference]) -> str:
    first = unseen[0]
    others = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
    return (
        f"the watch has not shown {first.key} at version {first.there or 'gone'}{others}: "
        "beginning anew"
    )
