"""Kubernetes' API as a client sees it: lists in pages, what has changed since, its version.

Rule: a list is whole or an error; one whose continuation has expired begins anew. Of a refusal the status and the one
word `reason` are passed on: messages of this API name users, hosts and addresses.
Source: Kubernetes documentation, "Kubernetes API Concepts".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from federation_core.connectors.backends import kubernetes_objects as objects
from federation_core.connectors.backends.kubernetes_objects import Read
from federation_core.connectors.http import Answer, HttpClient
from federation_core.connectors.refusals import refusal
from federation_core.errors import ClusterError, Malformed, Rejected, TooLarge, Unreachable
from federation_core.query import Deadline

API: Final = "Kubernetes' API"
#: How many objects one page may have. With 500, as `kubectl` asks for, 5,000 pods with their replica sets took 100 MB
#: while they were read and half as much again of the processor; pages of 100 take 30 MB.
PAGE: Final = 100
#: What one page may hold; a server keeps each object below 1.5 MB, and nearly all are a hundredth of that.
_PAGE_BYTES: Final = 16 * 1024 * 1024
#: What is kept of one kind at most; Kubernetes itself is made for 150,000 pods.
MOST_OBJECTS: Final = 200_000
#: How often a list begins anew, for a cluster whose pages expire before they are read.
_BEGINNINGS: Final = 3
#: How long a server is asked to tell what has changed, and how long it is given.
_WATCH_S, _WATCH_AT_MOST_S = 1, 5
_REASON_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects: its name in paths and rights, where it is, and what is read of an object."""

    plural: str
    group: str
    read: Callable[[Any], Read]

    @property
    def path(self) -> str:
        """Where all of them are listed, over all namespaces."""
        return f"/apis/{self.group}/v1/{self.plural}" if self.group else f"/api/v1/{self.plural}"


#: What an inventory is made of.
KINDS: Final = (
    Kind("pods", "", objects.pod),
    Kind("services", "", objects.service),
    Kind("endpointslices", "discovery.k8s.io", objects.endpoint_slice),
    Kind("deployments", "apps", objects.replicated("Deployment")),
    Kind("statefulsets", "apps", objects.replicated("StatefulSet")),
    Kind("daemonsets", "apps", objects.daemon_set),
    Kind("replicasets", "apps", objects.replicated("ReplicaSet")),
    Kind("jobs", "batch", objects.job),
    Kind("cronjobs", "batch", objects.cron_job),
    Kind("nodes", "", objects.node),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """The objects of one kind at one version: (namespace, name) → what is read of it."""

    version: str
    objects: Mapping[tuple[str, str], Read]


class Expired(Exception):
    """What has changed since a version is not known any more, or cannot be read: the list begins anew."""


class NotServed(Exception):
    """A kind that cannot be listed while others may be; the words say why. `forbidden`, or else not there."""

    def __init__(self, words: str, forbidden: bool = False) -> None:
        super().__init__(words)
        self.forbidden = forbidden


@dataclass(frozen=True, slots=True)
class KubernetesApi:
    """The API of one cluster; safe to use from several threads."""

    http: HttpClient

    def list(self, kind: Kind, deadline: Deadline) -> Listed:
        """Return all objects of a kind as they are at one moment.

        Raises NotServed, ClusterError, QueryCanceled.
        """
        for _ in range(_BEGINNINGS):
            try:
                return self._list(kind, deadline)
            except Expired:
                continue
        raise Unreachable(
            f"the list of {kind.plural} expired {_BEGINNINGS} times while it was read", cluster=self._name
        )

    def _list(self, kind: Kind, deadline: Deadline) -> Listed:
        found: dict[tuple[str, str], Read] = {}
        token, pages, size = "", 0, PAGE
        while True:
            try:
                version, token = self._page(kind, size, token, found, deadline)
            except TooLarge:
                if size == 1:
                    raise
                # Of larger objects fewer at once.
                size = max(size // 10, 1)
                continue
            pages += 1
            if not token:
                return Listed(version, found)
            if len(found) > MOST_OBJECTS or pages > MOST_OBJECTS // size:
                raise self._too_many(kind)

    def _page(
        self, kind: Kind, size: int, token: str, found: dict[tuple[str, str], Read], deadline: Deadline
    ) -> tuple[str, str]:
        """Add the objects of one page to those found; return the list's version and where it goes on."""
        fields = (("limit", str(size)), *((("continue", token),) if token else ()))
        answer = self.http.ask("GET", kind.path, fields, deadline, max_bytes=_PAGE_BYTES)
        if answer.status == 410 and token:
            raise Expired
        page = self._object(answer, kind)
        metadata, items = page.get("metadata"), page.get("items", ())
        if not isinstance(metadata, dict) or not isinstance(items, list | None):
            raise self._malformed(f"the list of {kind.plural} is none")
        for item in items or ():
            key, read = self._read(kind, item)
            found[key] = read
        version, onward = (metadata.get(name) or "" for name in ("resourceVersion", "continue"))
        if not isinstance(version, str) or not isinstance(onward, str):
            raise self._malformed(f"the list of {kind.plural} does not say of when it is or where it goes on")
        return version, onward

    def changed(self, kind: Kind, since: Listed, deadline: Deadline) -> Listed:
        """Return the objects as they are now, from those of an earlier moment and what has changed since.

        Raises Expired, ClusterError, QueryCanceled.
        """
        fields = (
            ("watch", "true"),
            ("resourceVersion", since.version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(_WATCH_S)),
        )
        # Some proxies do not pass on that the server has ended the answer.
        soon = replace(deadline, at_ms=min(deadline.at_ms, _now_ms(deadline) + 1_000 * _WATCH_AT_MOST_S))
        try:
            answer = self.http.ask("GET", kind.path, fields, soon, max_bytes=_PAGE_BYTES)
        except ClusterError as exc:
            # Listing tells better what is wrong, if it still is.
            raise Expired from exc
        if answer.status != 200:
            raise Expired
        found, version = dict(since.objects), since.version
        for line in answer.body.splitlines():
            try:
                event = orjson.loads(line)
                change, item = event["type"], event["object"]
                version = item["metadata"]["resourceVersion"]
                if not isinstance(version, str) or change not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                    raise ValueError("no change that we know")
                if change != "BOOKMARK":
                    key, read = self._read(kind, item)
                    found.pop(key, None) if change == "DELETED" else found.__setitem__(key, read)
            except (ValueError, LookupError, TypeError, ClusterError) as exc:
                # An ERROR is among them: the version that was asked for is too old.
                raise Expired from exc
        if len(found) > MOST_OBJECTS:
            raise self._too_many(kind)
        return Listed(version, found)

    def may_list(self, kind: Kind, deadline: Deadline) -> None:
        """Return if a kind can be listed, from a list of one object.

        Raises NotServed, ClusterError, QueryCanceled.
        """
        self._page(kind, 1, "", {}, deadline)

    def release(self, deadline: Deadline) -> str:
        """Return the version of Kubernetes; "" where it does not tell us.

        Raises ClusterError, QueryCanceled.
        """
        answer = self.http.ask("GET", "/version", (), deadline, max_bytes=_PAGE_BYTES)
        if answer.status in (401, 403, 404):
            return ""
        found = self._object(answer).get("gitVersion")
        return found[:_REASON_CHARS] if isinstance(found, str) else ""

    def _read(self, kind: Kind, item: Any) -> tuple[tuple[str, str], Read]:
        try:
            return objects.key_of(read := kind.read(item)), read
        except ValueError as exc:
            raise self._malformed(f"one of its {kind.plural} cannot be read: {exc}") from None

    def _object(self, answer: Answer, kind: Kind | None = None) -> Mapping[str, Any]:
        try:
            read = orjson.loads(answer.body)
        except ValueError:
            read = None
        if answer.status == 200 and isinstance(read, dict):
            return read
        reason = read.get("reason") if isinstance(read, dict) and read.get("kind") == "Status" else ""
        said = reason[:_REASON_CHARS] if isinstance(reason, str) else ""
        if answer.status == 401:
            raise Rejected("the backend refuses our credentials (401)", cluster=self._name)
        if kind is not None and answer.status == 403:
            group = f" in the API group {kind.group}" if kind.group else ""
            raise NotServed(
                f"we may not list {kind.plural} (403): no ClusterRole that is bound to us allows"
                f" get, list and watch on {kind.plural}{group}",
                forbidden=True,
            )
        if kind is not None and answer.status == 404:
            raise NotServed(f"this Kubernetes has no {kind.plural} under {kind.path.rpartition('/')[0]} (404)")
        raise refusal(replace(answer, body=said.encode()), self._name, API)

    def _malformed(self, words: str) -> ClusterError:
        return Malformed(f"the answer is not one of {API}: {words}", cluster=self._name)

    def _too_many(self, kind: Kind) -> ClusterError:
        return TooLarge(
            f"there are more than {MOST_OBJECTS} {kind.plural}",
            cluster=self._name,
            limit="objects",
            asked=MOST_OBJECTS + 1,
            allowed=MOST_OBJECTS,
        )

    @property
    def _name(self) -> str:
        return self.http.cluster


def _now_ms(deadline: Deadline) -> int:
    return deadline.clock() if deadline.clock is not None else time.time_ns() // 1_000_000
