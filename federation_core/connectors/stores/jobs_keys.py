"""The names of everything about jobs that rests in Redis, and how long it rests.

Rule: every key of a job carries its tenant, quoted, so that no spelling of a tenant or a query id can name another
tenant's key. What only one cluster's workers write begins with the cluster (`part:`, `inflight:`, `lease:cluster.`,
`beats:`, `breaker:`, `health:`), so that their access can be limited to it; what all of them join in are `chord:*` and
the queue of the callbacks.
Every key has a time to live.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

#: Jobs in order of their deadline; members leave when the job is settled.
DEADLINES = "deadlines"
#: What every cluster may still be asked: a hash of cluster → leaves it may be asked at once, and as of when.
RATES = "rates"
#: Since when somebody listens for owners of leases that fall silent: a hash.
LISTENING = "listening"
#: The key that signs page cursors.
SIGNING_KEY = "signing-key"
#: Parts outlive the longest query (10 minutes) and no more: settling removes them, this is for those it missed.
PART_TTL_MS = 900_000
#: How long after its deadline a query's parts are still joined, to be swept: no shard runs on for longer.
JOIN_LATE_MS = 60_000
#: How long a tenant's list remembers that a job existed, to tell "expired" from "unknown".
REMEMBER_MS = 86_400_000
#: How many jobs of one tenant are remembered at most.
REMEMBER_JOBS = 10_000
#: How long a cancelled query is told to workers that start: longer than any query runs.
CANCELLED_MS = 660_000
#: A queue that nobody has sent to for this long holds only messages whose queries have ended, and is dropped.
QUEUE_TTL_MS = 900_000
#: How long one settler keeps others from doing the same work; afterwards they stop waiting for it.
CLAIM_MS = 1_500


def job(tenant_id: str, query_id: str) -> str:
    """The job's record: a hash."""
    return f"job:{_name(tenant_id)}:{_name(query_id)}"


def result(tenant_id: str, query_id: str) -> str:
    """The sealed result."""
    return f"result:{_name(tenant_id)}:{_name(query_id)}"


def wake(tenant_id: str, query_id: str) -> str:
    """A list that gets one element when the result is there; waiters rotate it and leave it full."""
    return f"wake:{_name(tenant_id)}:{_name(query_id)}"


def claim(tenant_id: str, query_id: str) -> str:
    """Held by whoever is settling the job."""
    return f"claim:{_name(tenant_id)}:{_name(query_id)}"


def part(cluster: str, tenant_id: str, query_id: str) -> str:
    """One cluster's part: a hash of when it started, its verdict and its sealed data. Also the id of its task."""
    return f"{awaited(cluster)}:{_name(tenant_id)}:{_name(query_id)}"


def chord(tenant_id: str, query_id: str) -> str:
    """What a query's parts are joined by: a hash of the parts awaited, and of the callback's queue and message."""
    return f"chord:{_name(tenant_id)}:{_name(query_id)}"


def awaited(cluster: str) -> str:
    """A field of `chord`, there until the cluster's part is; the beginning of the part's own key."""
    return f"part:{_name(cluster)}"


def deliveries(cluster: str, tenant_id: str, query_id: str) -> str:
    """How often a task of a query was begun again; `cluster` is empty for the merging."""
    return f"delivered:{_name(cluster)}:{_name(tenant_id)}:{_name(query_id)}"


def jobs_of(tenant_id: str) -> str:
    """A tenant's jobs in order of their creation."""
    return f"jobs:{_name(tenant_id)}"


def beats(cluster: str) -> str:
    """The heartbeats of one cluster's workers: a hash of worker → times."""
    return f"beats:{_name(cluster)}"


def breaker(cluster: str) -> str:
    """The breakers of one cluster's backends that have failed of late: a hash of entry → state."""
    return f"breaker:{_name(cluster)}"


def health(cluster: str) -> str:
    """How one cluster's backends were when a worker last probed them: a hash of entry → when and what."""
    return f"health:{_name(cluster)}"


def cancelled(cluster: str) -> str:
    """The cancelled queries that a cluster was asked: members as of `DEADLINES`, in order of when, by Redis' clock."""
    return f"cancelled:{_name(cluster)}"


def idempotency(tenant_id: str, digest: str) -> str:
    """The job that a tenant's idempotency key stands for: a hash; `digest` is of the route and the key."""
    return f"idempotency:{_name(tenant_id)}:{digest}"


def flight(tenant_id: str, fingerprint: str) -> str:
    """The id of the job that executes a question which others may join."""
    return f"flight:{_name(tenant_id)}:{_name(fingerprint)}"


def wanting(tenant_id: str, query_id: str) -> str:
    """The ids of the jobs that want the answer of one execution: a set, there once a second one has joined."""
    return f"wanting:{_name(tenant_id)}:{_name(query_id)}"


def cluster_queue(cluster: str) -> str:
    """The broker's queue of a cluster's shards; a list, as kombu names and fills it."""
    return f"cluster.{_name(cluster)}"


def lease(queue: str, owner: str) -> str:
    """The messages of a queue that one worker process has taken and not dealt with: a list."""
    return f"lease:{queue}:{owner}"


def lease_owners(queue: str) -> str:
    """Who may have leases of a queue: a sorted set of owners by when they were last heard of, by Redis' clock."""
    return f"owners:{queue}"


def running(tenant_id: str) -> str:
    """A tenant's running jobs: a sorted set of `member` by the time, in ms of Redis' clock, their places are free."""
    return f"running:{_name(tenant_id)}"


def in_flight(cluster: str, tenant_id: str = "") -> str:
    """Shards sent to a cluster and not answered, of all tenants or of one; kept like `running`."""
    return f"inflight:{_name(cluster)}:{_name(tenant_id)}"


def member(tenant_id: str, query_id: str) -> str:
    """A job as a member of `DEADLINES`, `running` and `in_flight`."""
    return f"{_name(tenant_id)}:{_name(query_id)}"


def tenant_and_query(found: bytes) -> tuple[str, str]:
    """Read what `member` wrote."""
    tenant_id, _, query_id = found.decode(errors="replace").partition(":")
    return unquote(tenant_id), unquote(query_id)


# Settling a query names some fifty keys, of few names.
@lru_cache(maxsize=4_096)
def _name(text: str) -> str:
    """Quote everything that could be taken for a separator or a glob; letters, digits and `_.-~` stay."""
    return quote(text, safe="")
