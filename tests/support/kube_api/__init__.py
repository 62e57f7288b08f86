"""A Kubernetes API server in the test's own process, honest enough to run our operator against.

For tests of `kopf.operator()` and of lightkube clients without a cluster; `tests/cluster` has the
truth, and the same conformance checks run against both. It speaks plain HTTP on a port of
127.0.0.1 that the kernel chooses.

It does: discovery; create, get, list, PUT, merge patch, JSON patch, server-side apply with field
ownership, delete, delete of collections; resource versions and optimistic locking, uid,
generation, `/status` apart from the rest; finalizers; garbage collection by owner references;
label and field selectors; watches with resume, bookmarks, time limits and 410 Gone. Built-in kinds
are typed by Kubernetes' own schemas, custom ones get their definition's defaults, pruning and
validation.

It differs from a real API server:

- No authentication, no RBAC, no admission, no CEL rules, no quotas, no TLS.
- Of built-in kinds it checks types and required fields, and the rules in `rules`; it fills in
  defaults of Secrets and Deployments (`defaults`). Others are stored as they come.
- No controllers and no pods: a Deployment gets its status from the test or from
  `deployments_get_ready`.
- Garbage collection and the deletion of namespaces and pods happen at once, within the request.
  Foreground deletion, strategic merge patch and queries that it does not know are refused.
- `metadata.managedFields` is kept but not shown. Through `/status`, no metadata is written (a real
  server takes annotations there for built-in kinds).
- Lists come in one piece, whatever `limit` says, and always show the newest state.
- Events of the core and of the events.k8s.io group are two kinds here; really they are one.
- Messages are alike, not the same. No table rendering and no OpenAPI document, so `kubectl`
  doesn't get far.
"""

from tests.support.kube_api.double import CRDS, KubeApi, definitions
from tests.support.kube_api.failures import Failure

__all__ = ["CRDS", "Failure", "KubeApi", "definitions"]
