"""What is read of Kubernetes' objects, field by field; reasons as `kubectl get pods` has them."""

from __future__ import annotations

from typing import Any

import pytest

from federation_core.connectors.backends import kubernetes_objects as objects
from federation_core.inventory import Node, Port, Workload


def named(**more: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "web", **more.pop("metadata", {})}
    return {"metadata": metadata, **more}


def waiting(why: str, **last: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": why}}, "lastState": {"terminated": last} if last else {}}


def ended(**how: Any) -> dict[str, Any]:
    return {"state": {"terminated": how}}


RUNNING: dict[str, Any] = {"state": {"running": {}}}


def failing(kind: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "False", "reason": reason}


class TestPods:
    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, ""),
            ({"phase": "Succeeded", "containerStatuses": [ended(exitCode=0, reason="Completed")]}, ""),
            ({"phase": "Succeeded", "containerStatuses": [ended(exitCode=143, reason="Error")]}, ""),
            ({"phase": "Failed", "reason": "Evicted", "containerStatuses": [ended(exitCode=137)]}, "Evicted"),
            ({"phase": "Failed", "containerStatuses": [ended(exitCode=1, reason="Error")]}, "exit code 1"),
            ({"phase": "Failed", "containerStatuses": [ended(exitCode=137, reason="OOMKilled")]}, "OOMKilled"),
            ({"phase": "Failed"}, "Failed"),
            ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "CrashLoopBackOff"),
            (
                {"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff", exitCode=2, reason="Error")]},
                "CrashLoopBackOff (exit code 2)",
            ),
            (
                {"containerStatuses": [RUNNING, waiting("CrashLoopBackOff", exitCode=137, reason="OOMKilled")]},
                "CrashLoopBackOff (OOMKilled)",
            ),
            (
                {"containerStatuses": [waiting("CrashLoopBackOff", exitCode=0, reason="Completed")]},
                "CrashLoopBackOff",
            ),
            ({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}, "ImagePullBackOff"),
            ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, "ContainerCreating"),
            (
                {
                    "phase": "Pending",
                    "initContainerStatuses": [ended(exitCode=0), ended(exitCode=3, reason="Error")],
                    "containerStatuses": [waiting("PodInitializing")],
                },
                "Init:exit code 3",
            ),
            ({"phase": "Pending", "conditions": [failing("PodScheduled", "Unschedulable")]}, "Unschedulable"),
            ({"phase": "Pending", "conditions": [failing("PodScheduled", "SchedulingGated")]}, "SchedulingGated"),
            (
                {
                    "phase": "Running",
                    "containerStatuses": [RUNNING],
                    "conditions": [failing("Ready", "ContainersNotReady")],
                },
                "ContainersNotReady",
            ),
            ({"phase": "Pending"}, ""),
            ({}, ""),
        ],
    )
    def test_why_it_is_not_well(self, status: dict[str, Any], reason: str) -> None:
        assert objects.pod(named(status=status)).pod.reason == reason

    @pytest.mark.parametrize(("told", "reason"), [("", "Terminating"), ("NodeLost", "Unknown")])
    def test_one_that_is_being_removed(self, told: str, reason: str) -> None:
        leaving = named(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}, status={"reason": told})
        assert objects.pod(leaving).pod.reason == reason

    def test_restarts_are_those_of_all_containers(self) -> None:
        status = {"containerStatuses": [{"restartCount": 2}, {}], "initContainerStatuses": [{"restartCount": 3}]}
        assert objects.pod(named(status=status)).pod.restarts == 5

    def test_its_labels_are_there_to_be_selected_by(self) -> None:
        read = objects.pod(named(metadata={"labels": {"b": "2", "app.kubernetes.io/version": "1.2"}}))
        assert read.labels == ("app.kubernetes.io/version=1.2", "b=2")
        assert read.pod.version == "1.2"

    def test_only_who_controls_it_is_its_owner(self) -> None:
        owners = [{"kind": "A", "name": "a"}, {"kind": "ReplicaSet", "name": "b", "controller": True}]
        assert objects.pod(named(metadata={"ownerReferences": owners})).pod.workload == "ReplicaSet/b"
        assert objects.pod(named(metadata={"ownerReferences": owners[:1]})).pod.workload == ""


def template(*images: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"image": image} for image in images]}}


class TestWorkloads:
    def test_without_a_number_of_replicas_there_is_to_be_one(self) -> None:
        read = objects.replicated("Deployment")
        assert (read(named()).desired, read(named()).ready) == (1, 0)
        assert read(named(spec={"replicas": 0}, status={"readyReplicas": 2})).desired == 0
        assert read(named(spec={"replicas": 0}, status={"readyReplicas": 2})).ready == 2

    def test_a_daemon_set_is_to_be_where_it_is_scheduled(self) -> None:
        found = objects.daemon_set(named(status={"desiredNumberScheduled": 3, "numberReady": 2}))
        assert (found.kind, found.desired, found.ready) == ("DaemonSet", 3, 2)

    def test_a_job_counts_its_completions(self) -> None:
        found = objects.job(named(spec={"completions": 5}, status={"succeeded": 2}))
        assert (found.desired, found.ready) == (5, 2)
        assert objects.job(named()).desired == 1

    def test_a_cron_job_has_no_pods_of_its_own(self) -> None:
        spec = {"suspend": True, "jobTemplate": {"spec": {"template": template("backup:7")}}}
        assert objects.cron_job(named(spec=spec)) == Workload(
            "CronJob", "shop", "web", images=("backup:7",), version="7", reason="Suspended"
        )

    @pytest.mark.parametrize(
        ("images", "version"),
        [
            (["web:1.2"], "1.2"),
            (["registry.example.net:5000/shop/web:1.2"], "1.2"),
            (["registry.example.net:5000/shop/web"], ""),
            (["web@sha256:0123"], ""),
            (["web:1.2@sha256:0123"], "1.2"),
            (["web:1.2", "proxy:1.9"], ""),
            (["web:1.2", "web:1.2"], "1.2"),
            (["web:1.2", "proxy"], "1.2"),
            ([], ""),
        ],
    )
    def test_its_version_is_the_one_tag_of_its_images(self, images: list[str], version: str) -> None:
        assert objects.replicated("Deployment")(named(spec={"template": template(*images)})).version == version

    def test_a_label_says_its_version_better(self) -> None:
        label = {"app.kubernetes.io/version": "9"}
        of_template = named(spec={"template": template("web:1", **label)})
        assert objects.replicated("Deployment")(of_template).version == "9"
        of_both = named(metadata={"labels": {"app.kubernetes.io/version": "10"}}, spec=of_template["spec"])
        assert objects.replicated("Deployment")(of_both).version == "10"

    def test_of_its_labels_those_are_kept_that_say_what_it_is_part_of(self) -> None:
        labels = {"app": "web", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "x", "team": "a"}
        found = objects.replicated("Deployment")(named(metadata={"labels": labels}))
        assert found.labels == {"app": "web", "app.kubernetes.io/part-of": "shop"}

    @pytest.mark.parametrize(
        ("condition", "reason"),
        [
            (
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                "ProgressDeadlineExceeded",
            ),
            ({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}, ""),
            ({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}, "FailedCreate"),
            ({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}, "BackoffLimitExceeded"),
            ({"type": "Failed", "status": "True"}, "Failed"),
            ({"type": "Complete", "status": "True", "reason": "CompletionsReached"}, ""),
        ],
    )
    def test_why_it_does_not_get_on(self, condition: dict[str, str], reason: str) -> None:
        assert objects.job(named(status={"conditions": [condition]})).reason == reason


class TestServicesAndNodes:
    def test_a_service_has_ports_and_what_it_selects(self) -> None:
        ports = [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}]
        found = objects.service(named(spec={"type": "LoadBalancer", "ports": ports, "selector": {"b": "2", "a": "1"}}))
        assert found.ports == (Port(80, "http"), Port(53, "", "UDP"))
        assert (found.type, found.selector) == ("LoadBalancer", ("a=1", "b=2"))

    def test_an_endpoint_that_does_not_say_whether_it_is_ready_is(self) -> None:
        pod = {"kind": "Pod", "name": "web-1"}
        endpoints = [
            {"addresses": ["10.0.0.1"], "targetRef": pod},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": None}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": False}, "targetRef": pod},
        ]
        found = objects.endpoint_slice(
            named(endpoints=endpoints, metadata={"labels": {"kubernetes.io/service-name": "w"}})
        )
        assert found.service == "w"
        assert found.endpoints == (("web-1", True, True), ("10.0.0.2", False, True), ("web-1", True, False))

    def test_a_node(self) -> None:
        conditions = [
            {"type": "Ready", "status": "Unknown"},
            {"type": "DiskPressure", "status": "True"},
            {"type": "MemoryPressure", "status": "False"},
            {"type": "EtcdIsVoter", "status": "True"},
        ]
        status = {"conditions": conditions, "nodeInfo": {"kubeletVersion": "v1.30.2"}}
        labels = {"topology.kubernetes.io/zone": "eu-1a", "failure-domain.beta.kubernetes.io/zone": "old"}
        found = objects.node(
            {"metadata": {"name": "n1", "labels": labels}, "spec": {"unschedulable": True}, "status": status}
        )
        assert found == Node("n1", False, "eu-1a", "v1.30.2", ("DiskPressure",), True)


class TestWhatIsNoObject:
    @pytest.mark.parametrize(
        "item",
        [
            None,
            [],
            "pod",
            {},
            {"metadata": {"name": ""}},
            {"metadata": {"name": 7}},
            {"metadata": {"name": "a" * 2_000}},
            named(status=[]),
            named(status={"phase": 1}),
            named(status={"containerStatuses": {}}),
            named(status={"containerStatuses": [1]}),
            named(status={"containerStatuses": [{"restartCount": "2"}]}),
            named(status={"containerStatuses": [{"restartCount": 2**40}]}),
            named(metadata={"labels": {"a": 1}}),
            named(metadata={"ownerReferences": [{"controller": "yes"}]}),
        ],
    )
    def test_it_is_refused(self, item: Any) -> None:
        with pytest.raises(ValueError, match=r"object|text|number|label|true"):
            objects.pod(item)

    def test_null_is_as_good_as_absent(self) -> None:
        nothing = dict.fromkeys(("status", "spec"))
        metadata = dict.fromkeys(("labels", "ownerReferences", "deletionTimestamp"))
        assert objects.pod(named(metadata=metadata, **nothing)) == objects.pod(named())
