"""Kubernetes' Pod Security Standards, level `restricted`, as a function over a pod's spec.

Read from https://kubernetes.io/docs/concepts/security/pod-security-standards/. For charts and
builders without a cluster; on one, the API server's own admission has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("image", "persistentVolumeClaim", "projected", "secret"),
}
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
_PROFILES = {"RuntimeDefault", "Localhost"}


def containers_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every container, of whatever sort."""
    sorts = ("initContainers", "containers", "ephemeralContainers")
    return [container for sort in sorts for container in spec.get(sort) or ()]


def restricted_violations(spec: Mapping[str, Any]) -> list[str]:
    """What keeps a pod with this spec from being admitted where `restricted` is enforced."""
    return [*_of_pod(spec), *(v for c in containers_of(spec) for v in _of_container(c, spec))]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield f"{flag} is on"
    for volume in spec.get("volumes") or ():
        for sort in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {sort}"
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in _SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']} is set"
    if context.get("runAsUser") == 0:
        yield "runs as root"
    if "windowsOptions" in context:
        yield "has options for Windows"


def _of_container(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name = container["name"]
    context = container.get("securityContext") or {}
    pod = spec.get("securityContext") or {}
    if context.get("privileged"):
        yield f"{name} is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may escalate its privileges"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f"{name} keeps capabilities"
    if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name} may run as root"
    if context.get("runAsUser") == 0:
        yield f"{name} runs as root"
    profile = context.get("seccompProfile", pod.get("seccompProfile")) or {}
    if profile.get("type") not in _PROFILES:
        yield f"{name} has no seccomp profile"
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield f"{name} takes port {port['hostPort']} of its node"
    if context.get("procMount", "Default") != "Default":
        yield f"{name} sees all of /proc"
    apparmor = context.get("appArmorProfile", pod.get("appArmorProfile"))
    if apparmor is not None and apparmor.get("type") not in _PROFILES:
        yield f"{name} has no AppArmor profile"
    if "seLinuxOptions" in context or "seLinuxOptions" in pod:
        yield f"{name} has options for SELinux"
