"""A Kubernetes API that behaves, on kmock: lists in pages, versions, watches, expiry, rights.

kmock speaks the API's paths, verbs, streams and errors; what it does not have is here: a version for every change,
pages whose continuation expires, watches that begin at a version and end, kinds that we may not see or that are not
there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kmock

#: A watch may end before the time it was asked for; waiting a second for each would only make tests slow.
_WATCH_ENDS_S = 0.05


@dataclass(frozen=True)
class Asked:
    """One request: what was asked for, how, and with which parameters."""

    verb: str
    plural: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class KubernetesServer:
    """The objects of one cluster by kind, and how its API is to behave. Tests change it from their own thread."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(default_factory=dict)
    #: Kinds that may not be listed, or (kind, "watch") that may not be watched; kinds that are not there.
    forbidden: set[Any] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    #: The token that is accepted; any where it is empty.
    token: str = ""
    #: How many continuations are to expire, how many objects a page has at most, whatever is asked for.
    expiring: int = 0
    page: int = 10**9
    #: Whether a watch whose version is too old is refused by its status or by an event.
    refuses_by_status: bool = False
    #: What a watch sends after its events, as it is.
    odd: bytes = b""
    version: int = 100
    #: Versions up to this one are forgotten.
    compacted: int = 0
    _history: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    _pages: dict[str, tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)

    def put(self, plural: str, *objects: dict[str, Any]) -> None:
        """Create or replace objects."""
        held = self.objects.setdefault(plural, {})
        for item in objects:
            key = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
            self._happened(plural, "MODIFIED" if key in held else "ADDED", item)
            held[key] = self._history[-1][3]

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Remove an object."""
        self._happened(plural, "DELETED", self.objects[plural].pop((namespace, name)))

    def compact(self) -> None:
        """Forget what has happened so far."""
        self.compacted = self.version
        self._history.clear()

    def verbs(self, plural: str) -> list[str]:
        """Return how a kind was asked for, in order."""
        return [one.verb for one in self.asked if one.plural == plural]

    def _happened(self, plural: str, change: str, item: dict[str, Any]) -> None:
        self.version += 1
        versioned = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        self._history.append((self.version, plural, change, versioned))

    def _allow(self, request: kmock.Request, verb: str) -> str:
        plural = request.resource.plural
        self.asked.append(Asked(verb, plural, request.url.path, dict(request.params), dict(request.headers)))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise kmock.KubernetesError(401, "Unauthorized", "Unauthorized")
        if plural in self.absent:
            raise kmock.KubernetesError(404, "NotFound", "the server could not find the requested resource")
        if plural in self.forbidden or (plural, verb) in self.forbidden:
            words = f'{plural} is forbidden: User "system:serviceaccount:secret:name" cannot {verb} resource "{plural}"'
            raise kmock.KubernetesError(403, "Forbidden", words)
        return plural

    def _list(self, request: kmock.Request) -> dict[str, Any]:
        plural = self._allow(request, "list")
        size = min(int(request.params.get("limit", 10**9)), self.page)
        if token := request.params.get("continue"):
            if self.expiring:
                self.expiring -= 1
                raise kmock.KubernetesError(410, "Expired", "The provided continue parameter is too old")
            version, rest = self._pages.pop(token)
        else:
            version, rest = self.version, [item for _, item in sorted(self.objects.get(plural, {}).items())]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if len(rest) > size:
            metadata |= {"continue": f"{plural}-{len(self.asked)}", "remainingItemCount": len(rest) - size}
            self._pages[metadata["continue"]] = (version, rest[size:])
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": rest[:size]}

    async def _watch(self, request: kmock.Request) -> Any:
        plural = self._allow(request, "watch")
        since = int(request.params["resourceVersion"])
        if since >= self.compacted:
            return self._changes(plural, since)
        if self.refuses_by_status:
            raise kmock.KubernetesError(410, "Expired", f"too old resource version: {since} ({self.compacted})")
        gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
        return ({"type": "ERROR", "object": {**gone, "message": f"too old resource version: {since}"}},)

    async def _changes(self, plural: str, since: int) -> AsyncIterator[Any]:
        yield b""
        for version, of, change, item in list(self._history):
            if version > since and of == plural:
                yield {"type": change, "object": item}
        await asyncio.sleep(_WATCH_ENDS_S)
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}}
        yield self.odd


@contextmanager
def kubernetes_server() -> Iterator[KubernetesServer]:
    """Serve inside the block, in a thread of its own."""
    server = KubernetesServer()
    started, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with kmock.KubernetesScaffold() as handler, kmock.Server(handler) as listening:
            handler[kmock.action.LIST] << server._list
            handler[kmock.action.WATCH] << server._watch
            server.url = str(listening.url).rstrip("/")
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="kubernetes")
    thread.start()
    try:
        assert started.wait(10)
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
