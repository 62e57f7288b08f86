"""What an API server does, as checks that run against the double and against a real one.

`ApiConformance` holds the checks; a test module subclasses it and has a fixture `server` that gives
an `ApiClient`. What is said here of the double is thereby said of Kubernetes, and the other way
round.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.kube_api.bare import (
    APPLY,
    BROKERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    JSON,
    LEASES,
    MERGE,
    SECRETS,
    ApiClient,
    Object,
    broker,
    config_map,
    deployment,
    version,
)


async def gone(server: ApiClient, path: str) -> bool:
    """Whether it is away, or goes within some seconds: a real collector takes its time."""
    for _ in range(150):
        status, _ = await server.ask("GET", path)
        if status == 404:
            return True
        await asyncio.sleep(0.1)
    return False


class ApiConformance:
    # Create, replace, lock

    async def test_what_is_created_has_identity(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        status, made = await server.ask("POST", path, config_map("identity", {"a": "1"}))
        assert status == 201
        assert made["metadata"]["uid"]
        assert made["metadata"]["resourceVersion"]
        assert made["metadata"]["creationTimestamp"].endswith("Z")
        assert "generation" not in made["metadata"]
        status, why = await server.ask("POST", path, config_map("identity"))
        assert (status, why["reason"], why["code"]) == (409, "AlreadyExists", 409)

    async def test_a_name_can_be_generated(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
        names = [(await server.did("POST", path, wanted))["metadata"]["name"] for _ in range(2)]
        assert names[0].startswith("made-")
        assert names[0] != names[1]

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_what_is_not_there_is_not_found(self, server: ApiClient, method: str) -> None:
        body = {"PUT": config_map("missing"), "PATCH": {"data": {}}}.get(method)
        content = MERGE if method == "PATCH" else "application/json"
        status, why = await server.ask(method, server.path(CONFIG_MAPS, "missing"), body, content)
        assert (status, why["kind"], why["reason"]) == (404, "Status", "NotFound")
        assert why["details"] == {"name": "missing", "kind": "configmaps"}

    async def test_a_bad_name_or_label_is_invalid(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        for wrong in (config_map("Upper_case"), config_map("labelled", labels={"a": "x" * 64})):
            status, why = await server.ask("POST", path, wrong)
            assert (status, why["reason"]) == (422, "Invalid")

    async def test_an_old_version_is_a_conflict(self, server: ApiClient) -> None:
        old = await server.did("POST", server.path(CONFIG_MAPS), config_map("locked", {"a": "1"}))
        path = server.path(CONFIG_MAPS, "locked")
        new = await server.did("PUT", path, {**old, "data": {"a": "2"}})
        assert version(new) != version(old)
        status, why = await server.ask("PUT", path, {**old, "data": {"a": "3"}})
        assert (status, why["reason"]) == (409, "Conflict")
        late = {"metadata": {"resourceVersion": version(old)}, "data": {"a": "3"}}
        status, _ = await server.ask("PATCH", path, late, MERGE)
        assert status == 409
        late["metadata"]["resourceVersion"] = version(new)
        assert (await server.did("PATCH", path, late, MERGE))["data"] == {"a": "3"}

    async def test_a_lease_is_not_replaced_without_its_version(self, server: ApiClient) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "lead"},
            "spec": {"holderIdentity": "one"},
        }
        await server.did("POST", server.path(LEASES), lease)
        status, why = await server.ask("PUT", server.path(LEASES, "lead"), lease)
        assert (status, why["reason"]) == (422, "Invalid")

    async def test_a_write_that_changes_nothing_makes_no_version(self, server: ApiClient) -> None:
        made = await server.did("POST", server.path(CONFIG_MAPS), config_map("same", {"a": "1"}))
        path = server.path(CONFIG_MAPS, "same")
        assert version(await server.did("PUT", path, made)) == version(made)
        assert version(await server.did("PATCH", path, {"data": {"a": "1"}}, MERGE)) == version(
            made
        )

    # Patches

    async def test_a_merge_patch_takes_out_nulls(self, server: ApiClient) -> None:
        await server.did(
            "POST", server.path(CONFIG_MAPS), config_map("merge", {"a": "1", "b": "2"})
        )
        path = server.path(CONFIG_MAPS, "merge")
        found = await server.did("PATCH", path, {"data": {"a": None, "c": "3"}}, MERGE)
        assert found["data"] == {"b": "2", "c": "3"}

    async def test_a_json_patch_whose_test_fails_changes_nothing(self, server: ApiClient) -> None:
        made = await server.did("POST", server.path(CONFIG_MAPS), config_map("tested", {"a": "1"}))
        path = server.path(CONFIG_MAPS, "tested")
        change = {"op": "replace", "path": "/data/a", "value": "2"}
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}
        status, why = await server.ask("PATCH", path, [test, change], JSON)
        assert (status, why["reason"]) == (422, "Invalid")
        assert version(await server.did("GET", path)) == version(made)
        found = await server.did("PATCH", path, [{**test, "value": version(made)}, change], JSON)
        assert found["data"] == {"a": "2"}

    # Types, defaults, names

    async def test_a_value_of_another_type_is_refused(self, server: ApiClient) -> None:
        numbers = config_map("typed", {"a": 1})
        status, _ = await server.ask("POST", server.path(CONFIG_MAPS), numbers)
        assert status == 400
        status, why = await server.apply(CONFIG_MAPS, numbers, "one")
        assert status == 500
        assert ".data.a: expected string" in why["message"]
        status, _ = await server.ask("POST", server.path(BROKERS), broker("typed", tradingMode=1))
        assert status == 422

    async def test_an_undeclared_field_is_dropped_but_not_applied(self, server: ApiClient) -> None:
        wrong = deployment("undeclared")
        wrong["spec"]["template"]["spec"]["whatever"] = 1
        status, why = await server.apply(DEPLOYMENTS, wrong, "one")
        assert status == 500
        assert ".spec.template.spec.whatever: field not declared in schema" in why["message"]
        made = await server.did("POST", server.path(DEPLOYMENTS), wrong)
        assert "whatever" not in made["spec"]["template"]["spec"]
        made = await server.did("POST", server.path(BROKERS), broker("undeclared", whatever=1))
        assert "whatever" not in made["spec"]

    async def test_a_custom_kind_gets_its_defaults(self, server: ApiClient) -> None:
        made = await server.did("POST", server.path(BROKERS), broker("bare", tradingMode=None))
        assert made["spec"]["tradingMode"] == "off"
        assert made["spec"]["webhook"]["maxSignalAgeSeconds"] == 300
        status, why = await server.ask("POST", server.path(BROKERS), broker("no", tradingMode="x"))
        assert (status, why["reason"]) == (422, "Invalid")
        assert "spec.tradingMode" in why["message"]

    async def test_a_deployment_gets_its_defaults(self, server: ApiClient) -> None:
        wanted = deployment("filled", A="1")
        pod = wanted["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
        (container,) = pod["containers"]
        container["ports"] = [{"name": "admin", "containerPort": 9090}]
        container["livenessProbe"] = {"httpGet": {"path": "/healthz", "port": "admin"}}
        container["volumeMounts"] = [{"name": "v", "mountPath": "/v", "readOnly": True}]
        container["env"].append(
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        )
        status, made = await server.apply(DEPLOYMENTS, wanted, "one")
        assert status == 201
        assert made["spec"] == {
            "progressDeadlineSeconds": 600,
            "replicas": 0,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "filled"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            },
            "template": {
                "metadata": {"labels": {"app": "filled"}},
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "example.invalid/nothing",
                            "imagePullPolicy": "Always",
                            "env": [
                                {"name": "A", "value": "1"},
                                {
                                    "name": "POD",
                                    "valueFrom": {
                                        "fieldRef": {
                                            "apiVersion": "v1",
                                            "fieldPath": "metadata.name",
                                        }
                                    },
                                },
                            ],
                            "livenessProbe": {
                                "failureThreshold": 3,
                                "httpGet": {"path": "/healthz", "port": "admin", "scheme": "HTTP"},
                                "periodSeconds": 10,
                                "successThreshold": 1,
                                "timeoutSeconds": 1,
                            },
                            "ports": [{"containerPort": 9090, "name": "admin", "protocol": "TCP"}],
                            "resources": {},
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}],
                        }
                    ],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30,
                    "volumes": [{"name": "v", "secret": {"defaultMode": 420, "secretName": "s"}}],
                },
            },
        }

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("selector", {"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
            ("containers", {"spec": {"template": {"spec": {"containers": []}}}}),
            ("name", {"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}),
        ],
    )
    async def test_a_deployment_that_cannot_be_is_invalid(
        self, server: ApiClient, field: str, change: Object
    ) -> None:
        made = deployment(f"invalid-{field}")
        await server.apply(DEPLOYMENTS, made, "one")
        path = server.path(DEPLOYMENTS, f"invalid-{field}")
        status, why = await server.ask("PATCH", path, change, MERGE)
        assert (status, why["reason"]) == (422, "Invalid")
        assert field in why["message"]

    async def test_a_leases_times_have_microseconds(self, server: ApiClient) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "timed"},
            "spec": {"renewTime": "2026-01-01T00:00:00Z"},
        }
        status, _ = await server.ask("POST", server.path(LEASES), lease)
        assert status == 400
        lease["spec"] = {"renewTime": "2026-01-01T00:00:00.000000Z"}
        # A PUT makes a Lease that is not there.
        status, _ = await server.ask("PUT", server.path(LEASES, "timed"), lease)
        assert status == 201

    @pytest.mark.parametrize(
        "without", ["action", "eventTime", "reason", "regarding", "reportingController", "type"]
    )
    async def test_an_event_is_told_in_full(self, server: ApiClient, without: str) -> None:
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": "told-"},
            "action": "Look",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "note": "It is so.",
            "reason": "Seen",
            "regarding": {"kind": "ConfigMap", "name": "a", "namespace": server.namespace},
            "reportingController": "trading.aristobot.io/operator",
            "reportingInstance": "operator-0",
            "type": "Normal",
        }
        path = server.path("events.k8s.io/v1/events")
        made = await server.did("POST", path, event)
        again = {**made, "note": "It is not so."}
        status, _ = await server.ask("PUT", f"{path}/{made['metadata']['name']}", again)
        assert status == 422
        del event[without]
        status, why = await server.ask("POST", path, event)
        assert (status, why["reason"]) == (422, "Invalid")

    async def test_a_dry_run_writes_nothing(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        assert await server.did("POST", path, config_map("dry"), dryRun="All")
        status, _ = await server.ask("GET", server.path(CONFIG_MAPS, "dry"))
        assert status == 404

    async def test_a_namespace_has_to_be_there(self, server: ApiClient) -> None:
        path = "/api/v1/namespaces/nowhere-at-all/configmaps"
        status, why = await server.ask("POST", path, config_map("lost"))
        assert (status, why["details"]["kind"]) == (404, "namespaces")

    # Secrets

    async def test_a_secrets_plain_entries_are_encoded(self, server: ApiClient) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "plain"},
            "data": {"a": "MQ=="},
            "stringData": {"b": "2"},
        }
        made = await server.did("POST", server.path(SECRETS), secret)
        assert made["data"] == {"a": "MQ==", "b": "Mg=="}
        assert "stringData" not in made
        assert made["type"] == "Opaque"

    async def test_what_is_applied_as_plain_entries_stays_when_dropped(
        self, server: ApiClient
    ) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "kept"},
            "stringData": {"a": "1", "b": "2"},
        }
        _, made = await server.apply(SECRETS, secret, "one")
        _, again = await server.apply(SECRETS, secret, "one")
        assert version(again) == version(made)
        _, found = await server.apply(SECRETS, {**secret, "stringData": {"a": "1"}}, "one")
        assert found["data"] == {"a": "MQ==", "b": "Mg=="}
        encoded = {key: value for key, value in secret.items() if key != "stringData"}
        await server.apply(SECRETS, {**encoded, "data": {"a": "MQ==", "b": "Mg=="}}, "one")
        _, found = await server.apply(SECRETS, {**encoded, "data": {"a": "MQ=="}}, "one")
        assert found["data"] == {"a": "MQ=="}

    async def test_a_secrets_type_does_not_change(self, server: ApiClient) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fixed"}}
        await server.did("POST", server.path(SECRETS), secret)
        path = server.path(SECRETS, "fixed")
        status, _ = await server.ask("PATCH", path, {"type": "aristobot.io/other"}, MERGE)
        assert status == 422

    # Status and generation

    async def test_status_and_the_rest_are_written_apart(self, server: ApiClient) -> None:
        wanted = {**broker("apart"), "status": {"observedGeneration": 7}}
        made = await server.did("POST", server.path(BROKERS), wanted)
        assert "observedGeneration" not in made.get("status", {})
        assert made["metadata"]["generation"] == 1
        both = {"spec": {"tradingMode": "webhook"}, "status": {"observedGeneration": 1}}
        path = server.path(BROKERS, "apart")
        found = await server.did("PATCH", server.path(BROKERS, "apart", "status"), both, MERGE)
        assert found["status"]["observedGeneration"] == 1
        assert found["spec"] == made["spec"]
        assert found["metadata"]["generation"] == 1
        both["status"]["observedGeneration"] = 2
        found = await server.did("PATCH", path, both, MERGE)
        assert found["status"]["observedGeneration"] == 1
        assert found["spec"]["tradingMode"] == "webhook"
        assert found["metadata"]["generation"] == 2
        labelled = {"metadata": {"labels": {"a": "b"}}}
        assert (await server.did("PATCH", path, labelled, MERGE))["metadata"]["generation"] == 2

    async def test_a_kind_without_status_has_no_such_path(self, server: ApiClient) -> None:
        await server.did("POST", server.path(CONFIG_MAPS), config_map("statusless"))
        path = server.path(CONFIG_MAPS, "statusless", "status")
        status, _ = await server.ask("PATCH", path, {"status": {}}, MERGE)
        assert status == 404

    # Deletion

    async def test_a_finalizer_keeps_what_is_deleted(self, server: ApiClient) -> None:
        held = broker("held")
        held["metadata"]["finalizers"] = ["trading.aristobot.io/one", "trading.aristobot.io/two"]
        await server.did("POST", server.path(BROKERS), held)
        path = server.path(BROKERS, "held")
        marked = await server.did("DELETE", path)
        assert marked["metadata"]["deletionTimestamp"]
        assert marked["metadata"]["generation"] == 2
        again = await server.did("DELETE", path)
        assert version(again) == version(marked)
        more = {"metadata": {"finalizers": [*held["metadata"]["finalizers"], "a.io/three"]}}
        status, _ = await server.ask("PATCH", path, more, MERGE)
        assert status == 422
        less = {"metadata": {"finalizers": ["trading.aristobot.io/two"]}}
        assert (await server.did("PATCH", path, less, MERGE))["metadata"]["deletionTimestamp"]
        await server.did("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        status, _ = await server.ask("GET", path)
        assert status == 404

    async def test_a_deletion_can_be_of_one_version_only(self, server: ApiClient) -> None:
        made = await server.did("POST", server.path(CONFIG_MAPS), config_map("precise"))
        path = server.path(CONFIG_MAPS, "precise")
        for wrong in ({"resourceVersion": "1"}, {"uid": "another"}):
            status, why = await server.ask("DELETE", path, {"preconditions": wrong})
            assert (status, why["reason"]) == (409, "Conflict")
        right = {name: made["metadata"][name] for name in ("resourceVersion", "uid")}
        done = await server.did("DELETE", path, {"preconditions": right})
        assert (done["kind"], done["status"]) == ("Status", "Success")

    async def test_what_is_owned_goes_with_its_owner(self, server: ApiClient) -> None:
        owner = await server.did("POST", server.path(BROKERS), broker("owner"))
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": "Broker",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        child = config_map("child", ownerReferences=[reference])
        await server.did("POST", server.path(CONFIG_MAPS), child)
        await server.did("DELETE", server.path(BROKERS, "owner"))
        assert await gone(server, server.path(CONFIG_MAPS, "child"))

    # Server-side apply

    async def test_apply_creates_and_then_changes_nothing(self, server: ApiClient) -> None:
        status, made = await server.apply(DEPLOYMENTS, deployment("applied", A="1"), "one")
        assert (status, made["metadata"]["generation"]) == (201, 1)
        for _ in range(20):  # A real controller writes its status once or twice.
            status, again = await server.apply(DEPLOYMENTS, deployment("applied", A="1"), "one")
            assert (status, again["metadata"]["generation"]) == (200, 1)
            _, last = await server.apply(DEPLOYMENTS, deployment("applied", A="1"), "one")
            if version(again) == version(last):
                break
            await asyncio.sleep(0.2)
        else:
            pytest.fail("each apply makes a new version")

    async def test_apply_takes_out_what_is_not_sent_any_more(self, server: ApiClient) -> None:
        await server.apply(DEPLOYMENTS, deployment("dropped", A="1", B="2"), "one")
        status, found = await server.apply(DEPLOYMENTS, deployment("dropped", B="3"), "one")
        container = found["spec"]["template"]["spec"]["containers"][0]
        assert (status, container["env"]) == (200, [{"name": "B", "value": "3"}])
        assert found["metadata"]["generation"] == 2

    async def test_a_yaml_body_is_applied(self, server: ApiClient) -> None:
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata:\n  a: '1'\n"
        path = server.path(CONFIG_MAPS, "yaml")
        status, made = await server.ask("PATCH", path, text, APPLY, fieldManager="one")
        assert (status, made["data"]) == (201, {"a": "1"})

    async def test_managers_conflict_unless_forced(self, server: ApiClient) -> None:
        await server.apply(CONFIG_MAPS, config_map("fought", {"a": "1", "b": "1"}), "one")
        mine = config_map("fought", {"a": "2"})
        status, why = await server.apply(CONFIG_MAPS, mine, "two")
        assert (status, why["reason"]) == (409, "Conflict")
        assert '"one"' in why["message"]
        assert ".data.a" in why["message"]
        status, found = await server.apply(CONFIG_MAPS, mine, "two", force=True)
        assert (status, found["data"]) == (200, {"a": "2", "b": "1"})
        # What was taken is not the first one's any more: leaving it out doesn't take it out.
        status, found = await server.apply(CONFIG_MAPS, config_map("fought", {"b": "1"}), "one")
        assert (status, found["data"]) == (200, {"a": "2", "b": "1"})

    async def test_what_two_apply_stays_until_both_drop_it(self, server: ApiClient) -> None:
        for manager in ("one", "two"):
            await server.apply(CONFIG_MAPS, config_map("shared", {"a": "1"}), manager)
        _, found = await server.apply(CONFIG_MAPS, config_map("shared"), "one")
        assert found["data"] == {"a": "1"}
        _, found = await server.apply(CONFIG_MAPS, config_map("shared"), "two")
        assert not found.get("data")

    async def test_apply_repairs_what_another_has_changed(self, server: ApiClient) -> None:
        await server.apply(DEPLOYMENTS, deployment("drifted", A="1"), "one")
        path = server.path(DEPLOYMENTS, "drifted")
        container = {"name": "main", "image": "example.invalid/other"}
        spec = {"template": {"spec": {"containers": [container]}}}
        await server.did("PATCH", path, {"spec": spec}, MERGE)
        wanted = deployment("drifted", A="1")
        status, _ = await server.apply(DEPLOYMENTS, wanted, "one")
        assert status == 409
        _, found = await server.apply(DEPLOYMENTS, wanted, "one", force=True)
        container = found["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "example.invalid/nothing"
        assert container["env"] == [{"name": "A", "value": "1"}]

    async def test_apply_needs_a_manager(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS, "nobody")
        status, _ = await server.ask("PATCH", path, config_map("nobody"), APPLY)
        assert status == 422

    async def test_status_is_applied_by_its_own_path(self, server: ApiClient) -> None:
        await server.apply(BROKERS, broker("told"), "one")
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        told = {**broker("told"), "status": {"conditions": [condition]}}
        del told["spec"]
        status, found = await server.apply(BROKERS, told, "two", status=True)
        assert status == 200, found
        assert [c["type"] for c in found["status"]["conditions"]] == ["Ready"]
        _, found = await server.apply(BROKERS, broker("told"), "one")
        assert [c["type"] for c in found["status"]["conditions"]] == ["Ready"]

    async def test_managers_share_a_list_of_conditions(self, server: ApiClient) -> None:
        await server.apply(BROKERS, broker("conditions"), "one")

        async def tell(manager: str, **conditions: str) -> tuple[int, Object]:
            status = {
                "conditions": [
                    {
                        "type": name,
                        "status": value,
                        "reason": "Because",
                        "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                    for name, value in conditions.items()
                ]
            }
            told = {**broker("conditions"), "status": status}
            del told["spec"]
            return await server.apply(BROKERS, told, manager, status=True)

        await tell("one", Ready="True")
        _, found = await tell("two", Paused="False")
        assert [c["type"] for c in found["status"]["conditions"]] == ["Ready", "Paused"]
        status, why = await tell("two", Ready="False")
        assert status == 409
        assert '.status.conditions[type="Ready"].status' in why["message"]
        _, found = await tell("two")
        assert [c["type"] for c in found["status"]["conditions"]] == ["Ready"]

    # Lists and watches

    async def test_lists_are_selected(self, server: ApiClient) -> None:
        for name, tier in (("sel-a", "front"), ("sel-b", "back"), ("sel-c", "back")):
            made = config_map(name, labels={"set": "selected", "tier": tier})
            await server.did("POST", server.path(CONFIG_MAPS), made)
        for selector, wanted in (
            ("set=selected,tier=back", ["sel-b", "sel-c"]),
            ("set=selected,tier!=back", ["sel-a"]),
            ("set=selected,tier in (front, side)", ["sel-a"]),
            ("set=selected,!other", ["sel-a", "sel-b", "sel-c"]),
            ("set=selected,other", []),
        ):
            found = await server.did("GET", server.path(CONFIG_MAPS), labelSelector=selector)
            assert [item["metadata"]["name"] for item in found["items"]] == wanted, selector
        one = await server.did("GET", server.path(CONFIG_MAPS), fieldSelector="metadata.name=sel-b")
        assert [item["metadata"]["name"] for item in one["items"]] == ["sel-b"]
        status, _ = await server.ask("GET", server.path(CONFIG_MAPS), fieldSelector="data.a=1")
        assert status == 400
        status, _ = await server.ask("GET", server.path(CONFIG_MAPS), labelSelector="a===b")
        assert status == 400

    async def test_a_version_to_come_is_not_listed(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        later = str(int(version(await server.did("GET", path))) + 1_000_000)
        status, why = await server.ask("GET", path, resourceVersion=later)
        assert (status, why["reason"]) == (504, "Timeout")

    async def test_a_watch_goes_on_from_a_list(self, server: ApiClient) -> None:
        path = server.path(CONFIG_MAPS)
        await server.did("POST", path, config_map("watched-0", labels={"w": "1"}))
        listed = await server.did("GET", path, labelSelector="w=1")
        await server.did("POST", path, config_map("watched-1", labels={"w": "1"}))
        await server.did("POST", path, config_map("unwatched"))
        query = {"resourceVersion": version(listed), "labelSelector": "w=1", "timeoutSeconds": "5"}
        async with server.watch(CONFIG_MAPS, **query) as events:
            added = await anext(events)
            assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "watched-1")
            one = server.path(CONFIG_MAPS, "watched-1")
            changed = await server.did("PATCH", one, {"data": {"a": "1"}}, MERGE)
            event = await anext(events)
            assert (event["type"], version(event["object"])) == ("MODIFIED", version(changed))
            await server.did("PATCH", one, {"metadata": {"labels": {"w": "2"}}}, MERGE)
            event = await anext(events)
            assert event["type"] == "DELETED"
            assert event["object"]["metadata"]["labels"] == {"w": "1"}
            assert int(version(event["object"])) > int(version(changed))
            await server.did("DELETE", server.path(CONFIG_MAPS, "watched-0"))
            event = await anext(events)
            assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "watched-0")

    async def test_a_watch_ends_in_its_time(self, server: ApiClient) -> None:
        listed = await server.did("GET", server.path(CONFIG_MAPS))
        query = {"resourceVersion": version(listed), "timeoutSeconds": "1"}
        async with server.watch(CONFIG_MAPS, **query) as events:
            assert [event async for event in events] == []

    async def test_a_watch_can_begin_with_what_is_there(self, server: ApiClient) -> None:
        await server.did("POST", server.path(CONFIG_MAPS), config_map("there", labels={"t": "1"}))
        query = {"labelSelector": "t=1", "timeoutSeconds": "5"}
        async with server.watch(CONFIG_MAPS, **query) as events:
            assert (await anext(events))["type"] == "ADDED"
        streaming = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with server.watch(
            CONFIG_MAPS, **query, **streaming, allowWatchBookmarks="true"
        ) as events:
            assert (await anext(events))["type"] == "ADDED"
            bookmark = await anext(events)
            annotations = bookmark["object"]["metadata"]["annotations"]
            assert annotations == {"k8s.io/initial-events-end": "true"}

    # Discovery

    async def test_our_kinds_are_discovered(self, server: ApiClient) -> None:
        groups = {group["name"] for group in (await server.did("GET", "/apis"))["groups"]}
        assert {"apps", "coordination.k8s.io", "trading.aristobot.io"} <= groups
        found = await server.did("GET", "/apis/trading.aristobot.io/v1alpha1")
        names = {resource["name"] for resource in found["resources"]}
        for plural in ("brokers", "strategies", "activestrategies"):
            assert {plural, f"{plural}/status"} <= names
        assert "activestrategies/scale" not in names
