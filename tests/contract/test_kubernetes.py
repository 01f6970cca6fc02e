"""Kubernetes as a backend keeps the contract: lists in pages, what has changed since, rights, faults; real objects.

The API is kmock's with what it lacks (`tests/support/kubernetes_server.py`). Real objects lie outside the project.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.connectors.backends import kubernetes as backend_module
from federation_core.connectors.backends import kubernetes_api
from federation_core.connectors.backends.kubernetes import FEW
from federation_core.connectors.backends.kubernetes_api import KINDS, PAGE, KubernetesApi
from federation_core.connectors.http import open_client
from federation_core.errors import (
    ClusterError,
    InvalidConfig,
    Malformed,
    QueryExecutionError,
    Rejected,
    TimedOut,
    TooLarge,
    Unreachable,
)
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline, TimeRange
from tests.support.kubernetes_server import KubernetesServer, kubernetes_server
from tests.support.prometheus_replies import Reply, Request, answering, break_off, drip, hang
from tests.support.prometheus_server import _free_port
from tests.support.sample_store import FAR_DEADLINE, scope_of

pytestmark = pytest.mark.heavy
MANY = FEW + 10
#: How many pages they are.
PAGES = -(-MANY // PAGE)
LISTED = ["list"] * PAGES
EMPTY = {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}


@pytest.fixture
def server() -> Iterator[KubernetesServer]:
    with kubernetes_server() as running:
        yield running


def kubernetes(url: str, signal: str = "inventory", **named: Any) -> Connector:
    backend = Backend(signal, "kubernetes", url=url, origin="clusters.yaml:7", **named)
    return connect(Cluster("prod", "e", (backend,)), backend)


def pod(name: str, phase: str = "Running", namespace: str = "shop", **labels: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": [ready]}}


ONE_POD = {**EMPTY, "items": [pod("a")]}


def watches(request: Request) -> bool:
    return ("watch", "true") in request.fields


def many_pods(server: KubernetesServer) -> None:
    server.put("pods", *(pod(f"web-{number:04}") for number in range(MANY)))


def names(found: Inventory) -> set[str]:
    return {each.name for each in found.pods}


def look(connector: Connector) -> Inventory:
    return connector.inventory(FAR_DEADLINE)


class TestLists:
    def test_a_list_is_read_to_its_last_page(self, server: KubernetesServer) -> None:
        many_pods(server)
        assert names(look(kubernetes(server.url))) == {f"web-{number:04}" for number in range(MANY)}
        pages = [one for one in server.asked if one.plural == "pods"]
        assert [one.params["limit"] for one in pages] == [str(PAGE)] * PAGES
        assert ["continue" in one.params for one in pages] == [False] + [True] * (PAGES - 1)

    def test_every_kind_is_asked_for_as_json_over_all_namespaces(self, server: KubernetesServer) -> None:
        look(kubernetes(server.url))
        assert {one.path for one in server.asked} == {kind.path for kind in KINDS}
        assert {one.headers["Accept"] for one in server.asked} == {"application/json"}

    def test_a_url_may_have_a_path_before_the_apis(self) -> None:
        with answering(lambda request: Reply(EMPTY)) as replies:
            look(kubernetes(f"{replies.url}/k8s/clusters/c-1/"))
        assert "/k8s/clusters/c-1/api/v1/pods" in {request.path for request in replies.asked}

    def test_a_list_whose_continuation_expires_begins_anew(self, server: KubernetesServer) -> None:
        many_pods(server)
        server.expiring = 1
        assert len(names(look(kubernetes(server.url)))) == MANY
        assert ["continue" in one.params for one in server.asked if one.plural == "pods"] == [
            *(False, True),
            *(False, *[True] * (PAGES - 1)),
        ]

    def test_a_list_that_expires_every_time_is_an_error_that_says_so(self, server: KubernetesServer) -> None:
        many_pods(server)
        server.expiring = 10**6
        with pytest.raises(Unreachable, match="the list of pods expired 3 times while it was read"):
            look(kubernetes(server.url))

    def test_a_list_without_end_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kubernetes_api, "MOST_OBJECTS", PAGE * 3)
        endless = {"metadata": {"resourceVersion": "1", "continue": "more"}, "items": []}
        with answering(lambda request: Reply(endless)) as replies, pytest.raises(TooLarge, match="more than 300"):
            look(kubernetes(replies.url))

    def test_of_large_objects_a_page_has_fewer(self, server: KubernetesServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kubernetes_api, "_PAGE_BYTES", 4_000)
        server.put("pods", *(pod(f"web-{number:02}") for number in range(25)))
        assert len(look(kubernetes(server.url)).pods) == 25
        assert [one.params["limit"] for one in server.asked if one.plural == "pods"] == ["100", "10", "10", "10"]
        monkeypatch.setattr(kubernetes_api, "_PAGE_BYTES", 40)
        with pytest.raises(TooLarge):
            look(kubernetes(server.url))

    def test_an_empty_cluster_has_nothing_and_misses_nothing(self, server: KubernetesServer) -> None:
        assert look(kubernetes(server.url)) == Inventory()

    def test_a_list_of_null_is_an_empty_one(self) -> None:
        with answering(lambda request: Reply({**EMPTY, "items": None})) as replies:
            assert look(kubernetes(replies.url)) == Inventory()


class TestWhatHasChanged:
    def test_a_kind_of_few_objects_is_listed_each_time(self, server: KubernetesServer) -> None:
        server.put("pods", pod("a"))
        connector = kubernetes(server.url)
        look(connector)
        server.delete("pods", "shop", "a")
        assert names(look(connector)) == set()
        assert server.verbs("pods") == ["list", "list"]

    def test_of_many_only_the_changes_are_asked_for(self, server: KubernetesServer) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.put("pods", pod("new"), pod("web-0001", "Failed"))
        server.delete("pods", "shop", "web-0002")
        found = look(connector)
        assert server.verbs("pods") == [*LISTED, "watch"]
        assert len(found.pods) == MANY
        assert "new" in names(found)
        assert "web-0002" not in names(found)
        assert {each.phase for each in found.pods if each.name == "web-0001"} == {"Failed"}
        (asked,) = [one for one in server.asked if one.verb == "watch"]
        assert asked.params["resourceVersion"] == str(100 + MANY)
        assert (asked.params["allowWatchBookmarks"], asked.params["timeoutSeconds"]) == ("true", "1")

    def test_what_changes_afterwards_is_asked_for_from_there(self, server: KubernetesServer) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        for number in range(3):
            look(connector)
            server.delete("pods", "shop", f"web-000{number}")
        assert len(look(connector).pods) == MANY - 3
        assert server.verbs("pods")[PAGES:] == ["watch"] * 3

    def test_a_bookmark_moves_the_version_where_nothing_has_changed(self, server: KubernetesServer) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.put("nodes", {"metadata": {"name": "a"}})
        look(connector)
        server.compact()
        assert len(look(connector).pods) == MANY
        assert server.verbs("pods")[PAGES:] == ["watch", "watch"]

    @pytest.mark.parametrize("by_status", [False, True])
    def test_a_version_that_is_too_old_has_the_kind_listed_anew(
        self, server: KubernetesServer, by_status: bool
    ) -> None:
        server.refuses_by_status = by_status
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.delete("pods", "shop", "web-0000")
        server.put("pods", pod("new"))
        server.compact()
        assert names(look(connector)) == {f"web-{number:04}" for number in range(1, MANY)} | {"new"}
        assert server.verbs("pods")[PAGES:] == ["watch", *LISTED]
        server.delete("pods", "shop", "new")
        assert "new" not in names(look(connector))
        assert server.verbs("pods")[2 * PAGES + 1 :] == ["watch"]

    @pytest.mark.parametrize(
        "odd",
        [
            b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "9"}}}\n',
            b'{"type": "RENAMED", "object": {"metadata": {"name": "a", "resourceVersion": "9"}}}\n',
            b'{"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": 9}}}\n',
            b'{"type": "ADDED", "obj',
            b"[]\n",
            b"<html>\n",
        ],
    )
    def test_a_change_that_cannot_be_read_has_the_kind_listed_anew(self, server: KubernetesServer, odd: bytes) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.odd = odd
        server.put("pods", pod("new"))
        assert len(look(connector).pods) == MANY + 1
        assert server.verbs("pods")[PAGES : PAGES + 3] == ["watch", "list", "list"]

    def test_who_may_list_and_not_watch_lists(self, server: KubernetesServer) -> None:
        server.forbidden = {("pods", "watch")}
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.put("pods", pod("new"))
        found = look(connector)
        assert (len(found.pods), found.missing) == (MANY + 1, {})

    def test_a_watch_that_does_not_end_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kubernetes_api, "_WATCH_AT_MOST_S", 0.1)
        monkeypatch.setattr(backend_module, "FEW", 0)
        with answering(lambda request: Reply(act=drip) if watches(request) else Reply(ONE_POD)) as replies:
            connector = kubernetes(replies.url)
            assert names(look(connector)) == names(look(connector)) == {"a"}

    def test_what_was_known_stays_as_it_was_for_whoever_reads_it(self, server: KubernetesServer) -> None:
        many_pods(server)
        backend = Backend("inventory", "kubernetes", url=server.url, origin="clusters.yaml:7")
        api = KubernetesApi(open_client(Cluster("prod", "e", (backend,)), backend))
        before = api.list(KINDS[0], FAR_DEADLINE)
        server.delete("pods", "shop", "web-0000")
        after = api.changed(KINDS[0], before, FAR_DEADLINE)
        assert (len(before.objects), len(after.objects)) == (MANY, MANY - 1)

    def test_a_kind_that_grows_small_again_is_listed(self, server: KubernetesServer) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        for number in range(1, MANY):
            server.delete("pods", "shop", f"web-{number:04}")
        for _ in range(2):
            assert names(look(connector)) == {"web-0000"}
        assert server.verbs("pods")[PAGES:] == ["watch", "list"]

    def test_several_threads_see_the_same(self, server: KubernetesServer) -> None:
        many_pods(server)
        connector = kubernetes(server.url)
        look(connector)
        server.put("pods", pod("new"))
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: look(connector), range(8)))
        assert all(each == found[0] for each in found)
        assert len(found[0].pods) == MANY + 1


class TestRights:
    def test_a_kind_that_we_may_not_list_is_missing_and_said(self, server: KubernetesServer) -> None:
        server.forbidden = {"nodes", "deployments"}
        server.put("pods", pod("a"))
        found = look(kubernetes(server.url))
        assert names(found) == {"a"}
        assert found.missing == {
            "deployments": "we may not list deployments (403): no ClusterRole that is bound to us allows get, list and"
            " watch on deployments in the API group apps",
            "nodes": "we may not list nodes (403): no ClusterRole that is bound to us allows get, list and watch on"
            " nodes",
        }

    def test_who_may_list_nothing_is_told_what_is_missing(self, server: KubernetesServer) -> None:
        server.forbidden = {kind.plural for kind in KINDS}
        for call in (kubernetes(server.url).inventory, kubernetes(server.url).ping):
            with pytest.raises(
                Rejected, match=r"we may not list pods, services, .*, nodes \(403\): no ClusterRole"
            ) as e:
                call(FAR_DEADLINE)
            assert "system:" not in str(e.value)

    def test_a_token_is_sent_and_a_wrong_one_is_refused(self, server: KubernetesServer, tmp_path: Path) -> None:
        server.token = "right"
        server.put("pods", pod("a"))
        file = tmp_path / "token"
        connector = kubernetes(server.url, access=Access(bearer_token_file=str(file)))
        file.write_text("right\n")
        assert names(look(connector)) == {"a"}
        file.write_text("wrong\n")
        for call in (connector.inventory, connector.ping):
            with pytest.raises(Rejected, match=r"the backend refuses our credentials \(401\)"):
                call(FAR_DEADLINE)

    def test_an_older_kubernetes_lacks_a_group_and_it_is_said(self, server: KubernetesServer) -> None:
        server.absent = {"endpointslices", "cronjobs"}
        server.put("pods", pod("a"))
        found = look(kubernetes(server.url))
        assert found.missing == {
            "endpointslices": "this Kubernetes has no endpointslices under /apis/discovery.k8s.io/v1 (404)",
            "cronjobs": "this Kubernetes has no cronjobs under /apis/batch/v1 (404)",
        }

    def test_without_slices_a_services_pods_are_those_that_it_selects(self, server: KubernetesServer) -> None:
        server.absent = {"endpointslices"}
        server.put("pods", pod("a", app="web"), pod("b", "Pending", app="web"), pod("c", app="db"))
        server.put("services", {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"selector": {"app": "web"}}})
        found = look(kubernetes(server.url))
        assert found.services == {("shop", "web"): ("a", "b")}
        assert [(each.ready, each.not_ready) for each in found.kubernetes_services] == [(1, 1)]

    def test_an_address_of_something_else_is_told(self) -> None:
        with answering(lambda request: Reply(b"404 page not found\n", 404)) as replies:
            for call in (kubernetes(replies.url).inventory, kubernetes(replies.url).ping):
                with pytest.raises(Malformed, match=r"nothing of Kubernetes' API is under this URL \(404\)"):
                    call(FAR_DEADLINE)


STATUS = {"kind": "Status", "reason": "InternalError", "message": 'dial tcp 10.0.0.9:2379: user "me"', "code": 500}


class TestFaults:
    @pytest.mark.parametrize(
        ("reply", "error", "words"),
        [
            (Reply(b"<html>log in</html>"), Malformed, "is not one of Kubernetes' API"),
            (
                Reply(b'{"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [{"meta'),
                Malformed,
                "not one",
            ),
            (Reply({"kind": "PodList"}), Malformed, "the list of .* is none"),
            (Reply({"metadata": {}, "items": [{"metadata": {}}]}), Malformed, "an object without a name"),
            (Reply({"metadata": {"continue": 7}, "items": []}), Malformed, "does not say of when it is"),
            (Reply(act=break_off), Malformed, "broke off"),
            (Reply(STATUS, 500), Unreachable, "^the backend answers 500: InternalError$"),
            (Reply(b"upstream 10.0.0.9:6443 is down", 503), Unreachable, "^the backend answers 503$"),
            (Reply({**STATUS, "reason": "TooManyRequests"}, 429, {"Retry-After": "3"}), Rejected, "no more requests"),
            (Reply(b"", 302, {"Location": "https://login.example.net/"}), ClusterError, "302|redirect"),
        ],
    )
    def test_what_is_no_list_is_an_error(self, reply: Reply, error: type[ClusterError], words: str) -> None:
        with answering(lambda request: reply) as replies:
            for call in (kubernetes(replies.url).inventory, kubernetes(replies.url).ping):
                with pytest.raises(error, match=words) as raised:
                    call(FAR_DEADLINE)
                assert raised.value.cluster == "prod"
                assert "10.0.0.9" not in str(raised.value)

    def test_one_kind_that_fails_fails_the_inventory_and_does_not_wait_for_the_others(self) -> None:
        def reply(request: Request) -> Reply:
            return Reply(STATUS, 500) if request.path.endswith("/services") else Reply(act=hang)

        with answering(reply) as replies, pytest.raises(Unreachable, match="500"):
            kubernetes(replies.url).inventory(FAR_DEADLINE)

    def test_a_backend_that_hangs_ends_with_the_deadline(self) -> None:
        with answering(lambda request: Reply(act=hang)) as replies, pytest.raises(TimedOut):
            kubernetes(replies.url).inventory(Deadline(int(time.time() * 1000) + 200))

    def test_one_that_hangs_within_the_changes_does_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend_module, "FEW", 0)
        with answering(lambda request: Reply(act=hang) if watches(request) else Reply(ONE_POD)) as replies:
            connector = kubernetes(replies.url)
            look(connector)
            with pytest.raises(TimedOut):
                connector.inventory(Deadline(int(time.time() * 1000) + 200))

    def test_nobody_there(self) -> None:
        connector = kubernetes(f"http://127.0.0.1:{_free_port()}")
        for call in (connector.inventory, connector.ping, connector.about):
            with pytest.raises(Unreachable, match="no connection to the backend"):
                call(FAR_DEADLINE)


class TestTheRest:
    def test_about_is_the_version(self, server: KubernetesServer) -> None:
        assert kubernetes(server.url).about(FAR_DEADLINE) == About("Kubernetes 1.26.4+k3s1")

    @pytest.mark.parametrize("reply", [Reply(STATUS, 403), Reply(b"", 404), Reply({"major": "1"})])
    def test_a_version_that_is_not_told_is_left_out(self, reply: Reply) -> None:
        with answering(lambda request: reply) as replies:
            assert kubernetes(replies.url).about(FAR_DEADLINE) == About()

    def test_ping_reads_one_object(self, server: KubernetesServer) -> None:
        kubernetes(server.url).ping(FAR_DEADLINE)
        assert [(one.plural, one.params) for one in server.asked] == [("pods", {"limit": "1"})]

    def test_what_can_be_listed_in_part_is_up(self, server: KubernetesServer) -> None:
        server.forbidden = {"pods"}
        kubernetes(server.url).ping(FAR_DEADLINE)

    def test_there_is_nothing_to_query(self, server: KubernetesServer) -> None:
        with pytest.raises(QueryExecutionError, match="an inventory"):
            kubernetes(server.url).fetch(Leaf("m", "up", TimeRange(0, 0)), scope_of(["prod"]), FAR_DEADLINE)

    @pytest.mark.parametrize(
        ("backend", "words"),
        [
            (Backend("inventory", "kubernetes", path="/x", origin="clusters.yaml:7"), "needs `url`"),
            (Backend("metrics", "kubernetes", url="http://x", origin="clusters.yaml:7"), "holds no metrics"),
            (Backend("inventory", "kubernetes", url="http://x", origin="clusters.yaml:7", pushdown="off"), "pushdown"),
        ],
    )
    def test_only_an_inventory_and_only_by_url(self, backend: Backend, words: str) -> None:
        with pytest.raises(InvalidConfig, match=rf"clusters\.yaml:7: .*{words}"):
            connect(Cluster("prod", "e", (backend,)), backend)


PLURALS = {
    **{f"{kind}": f"{kind.lower()}s" for kind in ("Pod", "Service", "EndpointSlice", "Deployment", "StatefulSet")},
    **{f"{kind}": f"{kind.lower()}s" for kind in ("DaemonSet", "ReplicaSet", "Job", "CronJob", "Node")},
}

Real = Callable[[str], Inventory]


@pytest.fixture
def real(server: KubernetesServer, test_data: Path) -> Real:
    """Put the real objects of a file, or of several, into the cluster; return its inventory."""
    connector = kubernetes(server.url)

    def put(*files: str) -> Inventory:
        for file in files:
            read = json.loads(gzip.decompress((test_data / "data" / "k8s-objects" / f"{file}.json.gz").read_bytes()))
            kind = read["kind"].removesuffix("List") if "items" in read else read["kind"]
            server.put(PLURALS[kind], *read.get("items", [read]))
        return look(connector)

    return put


class TestRealObjects:
    @pytest.mark.parametrize(
        ("file", "phase", "reason", "workload"),
        [
            ("default", "Running", "", "ReplicaSet/random-pod-75b66db9b9"),
            ("default-unhealthy", "CrashLoopBackOff", "CrashLoopBackOff", "ReplicaSet/random-pod-75b66db9b9"),
            (
                "message-container-creating-failed-mount",
                "Pending",
                "ContainerCreating",
                "DaemonSet/troubleshoot-copyfromhost-4m79m",
            ),
            ("message-image-pull-fail", "Pending", "ErrImagePull", "ReplicaSet/no-image-deployment-849c4c4958"),
            ("message-oomkill-pod", "Failed", "OOMKilled", "Job/oom-kill-job3"),
            ("message-pending-node-affinity", "Pending", "Unschedulable", "ReplicaSet/kotsadm-b6cb54c8f"),
            (
                "message-pending-pod-resources",
                "Pending",
                "Unschedulable",
                "ReplicaSet/pending-pod-resources-5fddcf7688",
            ),
            ("message-pod-crashloop-backoff", "Running", "CrashLoopBackOff", ""),
            ("message-pod-init-crashloop-backoff", "Pending", "Init:RunContainerError", ""),
        ],
    )
    def test_why_a_pod_is_not_well(self, real: Real, file: str, phase: str, reason: str, workload: str) -> None:
        (found,) = real(f"pods/{file}").pods
        assert (found.phase, found.reason.partition(" (")[0], found.workload) == (phase, reason, workload)

    def test_no_words_of_a_message_are_kept(self, real: Real) -> None:
        assert "noimage.com" not in json.dumps(real("pods/message-image-pull-fail").to_wire())

    def test_workloads_and_who_owns_them(self, real: Real) -> None:
        found = real(
            *(f"deployments/{place}" for place in ("default", "kube-system", "monitoring")),
            *("statefulsets/default", "statefulsets/monitoring", "replicasets/default", "replicasets/rook-ceph"),
            *("jobs/projectcontour", "jobs/test", "k9s/render/testdata/ds"),
        )
        by_key = {(each.namespace, each.key): each for each in found.workloads}
        # Every replica set of these belongs to a deployment, and so is none of its own.
        assert not [each for each in found.workloads if each.kind == "ReplicaSet"]
        assert len(found.workloads) == 4 + 2 + 4 + 1 + 2 + 1 + 2 + 1
        web = by_key["default", "Deployment/kotsadm-web"]
        assert (web.desired, web.ready) == (1, 1)
        prometheus = by_key["monitoring", "StatefulSet/prometheus-k8s"]
        assert (prometheus.owner, prometheus.ready) == ("Prometheus/k8s", 1)
        assert any("grafana/grafana:" in image for image in by_key["monitoring", "Deployment/grafana"].images)

    def test_a_pod_belongs_to_the_deployment_of_its_replica_set(self, real: Real, server: KubernetesServer) -> None:
        owned = pod("kotsadm-1", namespace="default")
        owned["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "kotsadm-f98ff7d75", "controller": True}]
        server.put("pods", owned)
        assert [each.workload for each in real("replicasets/default").pods] == ["Deployment/kotsadm"]

    def test_where_a_replica_set_is_not_known_it_is_what_a_pod_belongs_to(self, real: Real) -> None:
        found = real("k9s/dao/testdata/p1", "k9s/xray/testdata/cilium")
        assert {each.workload for each in found.pods} == {
            "ReplicaSet/nginx-7fb78fb6d8",
            "ReplicaSet/cilium-operator-55658fb5c4",
        }

    def test_a_job_belongs_to_its_cron_job(self, real: Real) -> None:
        found = real("k9s/render/testdata/job", "k9s/render/testdata/cj")
        assert [each.key for each in found.workloads] == ["CronJob/hello"]

    def test_nodes(self, real: Real) -> None:
        found = {each.name: each for each in real("nodes").nodes}
        assert len(found) == 7
        assert all(each.ready and not each.pressures for each in found.values())
        assert all(each.kubelet.startswith("v1.") for each in found.values())

    def test_a_slice_counts_its_endpoints_for_its_service(self, real: Real, server: KubernetesServer) -> None:
        labels = {"kubernetes.io/service-name": "dictionary1"}
        real("k9s/render/testdata/eps", "k9s/render/testdata/svc")
        recorded = server.objects["endpointslices"]["blee", "fred"]
        server.put("endpointslices", {**recorded, "metadata": {"namespace": "default", "name": "a", "labels": labels}})
        (found,) = real().kubernetes_services
        assert (found.name, found.type, found.ready, found.not_ready) == ("dictionary1", "ClusterIP", 1, 0)

    def test_every_object_is_read_and_every_inventory_travels(self, real: Real, test_data: Path) -> None:
        folder = test_data / "data" / "k8s-objects"
        read = 0
        for file in sorted(folder.rglob("*.json.gz")):
            kind = json.loads(gzip.decompress(file.read_bytes()))["kind"].removesuffix("List")
            if kind in PLURALS:
                found = real(str(file.relative_to(folder)).removesuffix(".json.gz"))
                assert Inventory.from_wire(json.loads(json.dumps(found.to_wire()))) == found
                read += 1
        assert read >= 40
