"""Which clusters have a living worker at one moment, and why the others have none.

Rule: this is a value that somebody has observed; nothing here asks anyone. It is a set of names, so wherever names
suffice a plain set does too, which knows no reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Set

from federation_core.health import BackendBreaker, Breaker


class Presence(Set[str]):
    """The clusters whose queue is served; `absent` says in words why each other cluster's is not, and since when.

    `engines` tells in a word what evaluates in a cluster, where its worker has said it; `breakers` of which of its
    backends the breaker has something against, by their entries in the configuration.
    """

    def __init__(
        self,
        served: Collection[str] = (),
        absent: Mapping[str, str] | None = None,
        engines: Mapping[str, str] | None = None,
        breakers: Mapping[str, Mapping[str, BackendBreaker]] | None = None,
    ) -> None:
        self._served = frozenset(served)
        self.absent: Mapping[str, str] = dict(absent or {})
        self.engines: Mapping[str, str] = dict(engines or {})
        self.breakers: Mapping[str, Mapping[str, BackendBreaker]] = dict(breakers or {})

    def __contains__(self, cluster: object) -> bool:
        return cluster in self._served

    def __iter__(self) -> Iterator[str]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)


def why_absent(cluster: str, served: Collection[str]) -> str:
    """Say why a cluster is not among those served; empty where nothing is known."""
    return served.absent.get(cluster, "") if isinstance(served, Presence) else ""


def engines_of(clusters: Collection[str], served: Collection[str]) -> dict[str, str]:
    """Return the words for what evaluates in the clusters, of those that have one."""
    known = served.engines if isinstance(served, Presence) else {}
    return {name: known[name] for name in clusters if name in known}


def shut(cluster: str, entry: str, served: Collection[str]) -> BackendBreaker | None:
    """Return the breaker of a cluster's backend where it keeps queries from it."""
    known = served.breakers if isinstance(served, Presence) else {}
    breaker = known.get(cluster, {}).get(entry)
    return None if breaker is None or breaker.state is Breaker.CLOSED else breaker
