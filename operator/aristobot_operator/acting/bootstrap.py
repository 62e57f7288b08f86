"""Makes the platform's own Secrets, once: NATS signing keys, users of the fixed parts, passwords.

Done at every start before anything else; the chart's pods wait for these Secrets to be mounted.
What exists is never replaced: other signing keys would void every credential in use, and another
password would lock everybody out. Deliberately not in the chart: templates can't make such keys,
and would make others at each rendering.
"""

from __future__ import annotations

import base64
import logging
import secrets as random
from collections.abc import Callable, Mapping

from aristobot.contracts import nats_roles
from aristobot.contracts.kubernetes import (
    DATABASE_URL_KEY,
    POSTGRES_PORT,
    nats_server_secret,
    nats_trust_secret,
    postgres_secret,
    role_secret,
)
from aristobot.platform.nats_auth import Trust, account_key, new_seeds, server_config, trust_of
from aristobot_operator.acting.credentials import Credentials
from aristobot_operator.builders.objects import digest_of
from aristobot_operator.builders.secrets import is_as_made, secret
from aristobot_operator.cache import Cache
from aristobot_operator.kube import Conflict, Kube, Object
from aristobot_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

_ROLES = (nats_roles.ingress, nats_roles.engine, nats_roles.heartbeat, nats_roles.api)


async def ensure_trust(settings: OperatorSettings, kube: Kube) -> Trust:
    """The signing keys, made the first time. Raises `Misconfigured` when they are damaged."""
    name = nats_trust_secret(settings.release)
    found = await _make_once(settings, kube, name, new_seeds, component="nats")
    return trust_of(_decoded(found))


async def ensure_platform_secrets(
    settings: OperatorSettings, kube: Kube, cache: Cache, trust: Trust, credentials: Credentials
) -> None:
    """Everything else that the chart's pods mount."""
    name, namespace = nats_server_secret(settings.release), settings.namespace
    made_for = digest_of(["nats-server", account_key(trust)])
    if not is_as_made(cache.get("Secret", namespace, name), made_for, ["auth.conf"]):
        document = secret(
            settings,
            namespace,
            name,
            {"auth.conf": server_config(trust)},
            component="nats",
            made_for=made_for,
        )
        cache.put("Secret", await kube.apply(document))
    for role in (make() for make in _ROLES):
        await credentials.ensure(
            namespace, role_secret(settings.release, role.name), role, component=role.name
        )
    if settings.embedded_postgres is not None:
        host = settings.embedded_postgres.host

        def passwords() -> dict[str, str]:
            password = random.token_urlsafe(24)
            return {
                "password": password,
                "superuser-password": random.token_urlsafe(24),
                DATABASE_URL_KEY: (
                    f"postgresql://aristobot:{password}@{host}:{POSTGRES_PORT}/aristobot"
                ),
            }

        await _make_once(
            settings, kube, postgres_secret(settings.release), passwords, component="postgres"
        )


async def _make_once(
    settings: OperatorSettings,
    kube: Kube,
    name: str,
    values: Callable[[], Mapping[str, str]],
    *,
    component: str,
) -> Object:
    found = await kube.find("Secret", settings.namespace, name)
    if found is not None:
        return found
    document = secret(
        settings, settings.namespace, name, values(), component=component, made_for="once"
    )
    try:
        made = await kube.create(document)
    except Conflict:  # another replica was first
        return await kube.get("Secret", settings.namespace, name)
    logger.info("secret made", extra={"secret": name})
    return made


def _decoded(found: Object) -> Mapping[str, str]:
    data: dict[str, str] = found.get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items()}
