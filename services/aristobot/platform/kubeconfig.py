"""Which cluster a command means, as kubectl finds it: KUBECONFIG, ~/.kube/config, the pod's own.

Several files in KUBECONFIG: missing ones are skipped, the first to name a cluster, user or context
wins, and so does the first current context; a relative path means one beside its file.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
lightkube reads one file and looks at the pod's service account first, so the merging stands here.
What a kubeconfig may ask for and lightkube can't do is refused rather than ignored. Deliberately
not here: the connection itself (`kube_api`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from aristobot.core.errors import Misconfigured

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig

KUBECONFIG = "KUBECONFIG"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: Where entries hold paths. An exec plugin's command is one only if it has a slash in it.
_PATHS = {
    "clusters": ("cluster", ("certificate-authority",)),
    "users": ("user", ("client-certificate", "client-key", "tokenFile")),
    "contexts": ("context", ()),
}
#: Ignored, these would make the command act as somebody else or trust another server.
_UNSUPPORTED = {
    "users": ("as", "as-uid", "as-groups", "as-user-extra", "auth-provider"),
    "clusters": ("tls-server-name",),
}
_EXEC_INFO = "KUBERNETES_EXEC_INFO"
_EXEC_V1 = "client.authentication.k8s.io/v1"
_EXEC_V1BETA1 = "client.authentication.k8s.io/v1beta1"


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """A cluster, who we are there, and the namespace that is meant when none is named."""

    context: str
    namespace: str
    server: str
    proxy: str | None
    config: SingleConfig


def is_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether some kubeconfig is there; says nothing about whether it works."""
    return any(path.is_file() for path in _files(environment))


def read_access(
    context: str | None = None,
    environment: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> ClusterAccess:
    """The access that kubectl would use, in `context` if named, else in the current one.

    Raises `Misconfigured` when there is none or it can't be used.
    """
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError

    files = [path for path in _files(environment) if path.is_file()]
    in_pod = "KUBERNETES_SERVICE_HOST" in environment and (service_account / "token").is_file()
    try:
        if not files and context is None and in_pod:
            found = KubeConfig.from_service_account(service_account).get()
            return ClusterAccess("in-cluster", found.namespace, found.cluster.server, None, found)
        if not files:
            looked = ", ".join(str(path) for path in _files(environment))
            raise Misconfigured(
                f"no kubeconfig is there (looked for {looked}): set {KUBECONFIG} to the file that "
                "kubectl uses"
            )
        return _access(merged((path, _load(path)) for path in files), context)
    except ConfigError as error:
        raise Misconfigured(f"the kubeconfig can't be used: {error}") from error


def _files(environment: Mapping[str, str]) -> list[Path]:
    named = [part for part in environment.get(KUBECONFIG, "").split(os.pathsep) if part]
    if named:
        return [Path(part).expanduser() for part in named]
    home = environment.get("HOME")
    return [(Path(home) if home else Path.home()) / ".kube" / "config"]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The text is left out: a kubeconfig holds credentials.
        raise Misconfigured(f"{path} is not a kubeconfig: it is not YAML") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise Misconfigured(f"{path} is not a kubeconfig: expected clusters, contexts and users")
    return content


def merged(files: Iterable[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """One kubeconfig of several, with all paths made absolute; the first to name a thing wins."""
    named: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in _PATHS}
    current = ""
    for path, content in files:
        current = current or content.get("current-context") or ""
        for section, (inner, keys) in _PATHS.items():
            for item in content.get(section) or ():
                if not isinstance(item, dict) or "name" not in item:
                    raise Misconfigured(f"{path} is not a kubeconfig: {section} need names")
                entry = _absolute(item.get(inner) or {}, keys, path.absolute().parent)
                named[section].setdefault(item["name"], entry)
    return {**named, "current-context": current or None}


def _absolute(entry: Mapping[str, Any], keys: Iterable[str], folder: Path) -> dict[str, Any]:
    changed = dict(entry)
    for key in keys:
        if changed.get(key):
            changed[key] = str(folder / changed[key])
    plugin = changed.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        changed["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return changed


def _access(content: Mapping[str, Any], wanted: str | None) -> ClusterAccess:
    import msgspec
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.config.models import Cluster, Context, User

    contexts = content["contexts"]
    name = wanted or content["current-context"]
    known = ", ".join(sorted(contexts)) or "none"
    if name is None:
        raise Misconfigured(
            f"the kubeconfig names no current context: add --context NAME (known are {known})"
        )
    context = _entry(contexts, name, f"there is no context {name!r}; known are {known}")
    cluster = _entry(
        content["clusters"],
        context.get("cluster"),
        f"context {name}: there is no cluster {context.get('cluster')!r} in the kubeconfig",
    )
    user: dict[str, Any] = {}
    if context.get("user"):
        user = _entry(
            content["users"],
            context["user"],
            f"context {name}: there is no user {context['user']!r} in the kubeconfig",
        )
    for section, entry in (("clusters", cluster), ("users", user)):
        for key in _UNSUPPORTED[section]:
            if entry.get(key):
                raise Misconfigured(
                    f"context {name}: `{key}` is not supported by aristobot; use kubectl, or a "
                    "context without it"
                )
    if user.get("exec"):
        user = {**user, "exec": _plugin(user["exec"])}
    try:
        config = SingleConfig(
            context_name=name,
            context=msgspec.convert(context, Context),
            cluster=msgspec.convert(cluster, Cluster),
            user=msgspec.convert(user, User),
        )
    except msgspec.ValidationError as error:
        raise Misconfigured(f"context {name} of the kubeconfig: {error}") from error
    return ClusterAccess(
        context=name,
        namespace=config.namespace,
        server=config.cluster.server,
        proxy=cluster.get("proxy-url"),
        config=config,
    )


def _plugin(given: Mapping[str, Any]) -> dict[str, Any]:
    """An exec plugin as lightkube can run it.

    lightkube refuses the protocol's v1, which for a token is what v1beta1 is, and tells the plugin
    nothing of KUBERNETES_EXEC_INFO, without which a plugin of v1 may refuse to work.
    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats
    """
    version = given.get("apiVersion")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = {"name": _EXEC_INFO, "value": json.dumps(info)}
    return {
        **given,
        "apiVersion": _EXEC_V1BETA1 if version == _EXEC_V1 else version,
        "env": [*(given.get("env") or ()), told],
    }


def _entry(section: Mapping[str, dict[str, Any]], name: str | None, missing: str) -> dict[str, Any]:
    if name is None or name not in section:
        raise Misconfigured(missing)
    return section[name]
