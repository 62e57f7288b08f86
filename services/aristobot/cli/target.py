"""Which platform a command means: the one embedded on this machine, or one on Kubernetes.

`aristobot --kube [--context NAME] COMMAND` or ARISTOBOT_PLATFORM=kubernetes means the cluster that
kubectl would use. Both options may stand anywhere in the command, as with kubectl. Set once by the
root command; commands ask `current_target()`. Not here: reaching either (`session`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from aristobot.core.errors import Misconfigured

PLATFORM_VARIABLE = "ARISTOBOT_PLATFORM"
KUBE_OPTION = "--kube"
CONTEXT_OPTION = "--context"


class Platform(StrEnum):
    EMBEDDED = "embedded"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Target:
    """`context`: of the kubeconfig; None: its current one. `words`: the command without both."""

    on_kubernetes: bool = False
    context: str | None = None
    words: tuple[str, ...] = ()

    def default_owner(self, embedded: str) -> str:
        """Whose resources are meant when nobody is named: on Kubernetes the context's namespace."""
        if not self.on_kubernetes:
            return embedded
        from aristobot.platform.kubeconfig import read_access

        return read_access(self.context).namespace

    def only_in_pod(self) -> Misconfigured:
        """The error of a command that needs what only the cluster's inside reaches."""
        where = f" --context {shlex.quote(self.context)}" if self.context else ""
        return Misconfigured(
            "that needs the platform's database, which is not reached from here; run it in the api "
            "pod, in the namespace where the chart is installed: "
            f"`kubectl{where} -n NAMESPACE exec deploy/aristobot-api -- "
            f"aristobot {shlex.join(self.words)}`"
        )

    def require_embedded(self) -> None:
        """Raises `Misconfigured` where a command is about this machine and Kubernetes is meant."""
        if self.on_kubernetes:
            raise Misconfigured(
                f"`aristobot {shlex.join(self.words)}` is about the platform on this machine: "
                f"leave {KUBE_OPTION}, {CONTEXT_OPTION} and {PLATFORM_VARIABLE} out, or use "
                "kubectl and helm"
            )


_CURRENT: ContextVar[Target] = ContextVar("target", default=Target())  # noqa: B039 - frozen


def current_target() -> Target:
    return _CURRENT.get()


def set_target(
    *, kube: bool, context: str | None, platform: str | None, words: Sequence[str]
) -> None:
    """Note what the root command was given. Raises `Misconfigured` for an unknown platform."""
    if platform and platform not in set(Platform):
        known = " or ".join(Platform)
        raise Misconfigured(f"{PLATFORM_VARIABLE} is {platform!r}; it has to be {known}")
    on_kubernetes = kube or context is not None or platform == Platform.KUBERNETES
    _CURRENT.set(Target(on_kubernetes, context, tuple(words)))


def options_first(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The target's options, from wherever they stand before a `--`, and the words without them."""
    options: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            rest += [word, *remaining]
        elif word == KUBE_OPTION or word.startswith(f"{CONTEXT_OPTION}="):
            options.append(word)
        elif word == CONTEXT_OPTION:
            options += [word, *(value for value in (next(remaining, None),) if value is not None)]
        else:
            rest.append(word)
    return options, rest
