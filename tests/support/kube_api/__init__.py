"""A Kubernetes API server in the test's own process, honest enough to run our operator against.

For tests of `kopf.operator()` and of lightkube clients without a cluster; `tests/cluster` has the
truth, and the same conformance checks run against both. It speaks plain HTTP on a port of
127.0.0.1 that the kernel chooses.

It does: discovery; create, get, list, PUT, merge patch, JSON patch, server-side apply with field
ownership, delete, delete of collections; resource versions and optimistic locking, uid,
generation, `/status` apart from the rest; finalizers; garbage collection by owner references;
label and field selectors; watches with resume, bookmarks, time limits and 410 Gone; defaults,
pruning and OpenAPI validation of custom kinds; Secrets' `stringData`.

It differs from a real API server:

- No authentication, no RBAC, no admission, no CEL rules, no quotas, no TLS.
- Built-in kinds are hardly validated and get hardly any defaults (see `rules`); Secret and
  Deployment are the least loose. There are no controllers and no pods: a Deployment gets its
  status from the test or from `deployments_get_ready`.
- Garbage collection, deletion of a namespace and of pods happen at once, within the request.
  Foreground deletion and strategic merge patch are refused.
- `metadata.managedFields` is kept but not shown. Lists are merged by key only under the field
  names in `fields.LIST_KEYS`; all others are atomic.
- Lists come in one piece, whatever `limit` says, and always show the newest state. A watch takes
  any resource version that is remembered, also of another kind (a real one does as well).
- Events of the core and of the events.k8s.io group are two kinds here; really they are one.
- No table rendering and no OpenAPI document, so `kubectl` doesn't get far.
"""

from tests.support.kube_api.double import CRDS, KubeApi, definitions
from tests.support.kube_api.failures import Failure

__all__ = ["CRDS", "Failure", "KubeApi", "definitions"]
