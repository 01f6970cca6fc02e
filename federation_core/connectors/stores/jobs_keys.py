"""The names of everything about jobs that rests in Redis, and how long it rests.

Rule: every key of a job carries its tenant, quoted, so that no spelling of a tenant or a query id can name another
tenant's key; a part's key begins with its cluster, so that a worker's access can be limited to `part:<cluster>:*`.
Every key has a time to live.
"""

from __future__ import annotations

from urllib.parse import quote

#: Jobs in order of their deadline; members leave when the job is settled.
DEADLINES = "deadlines"
#: Parts outlive the longest query (10 minutes) and no more: settling removes them, this is for those it missed.
PART_TTL_MS = 900_000
#: How long a tenant's list remembers that a job existed, to tell "expired" from "unknown".
REMEMBER_MS = 86_400_000
#: How many jobs of one tenant are remembered at most.
REMEMBER_JOBS = 10_000
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
    """One cluster's part: a hash of when it started, its verdict and its sealed data."""
    return f"part:{_name(cluster)}:{_name(tenant_id)}:{_name(query_id)}"


def jobs_of(tenant_id: str) -> str:
    """A tenant's jobs in order of their creation."""
    return f"jobs:{_name(tenant_id)}"


def beats(cluster: str) -> str:
    """The heartbeats of one cluster's workers: a hash of worker → times."""
    return f"beats:{_name(cluster)}"


def member(tenant_id: str, query_id: str) -> str:
    """A job as a member of `DEADLINES`."""
    return f"{_name(tenant_id)}:{_name(query_id)}"


def _name(text: str) -> str:
    """Quote everything that could be taken for a separator or a glob; letters, digits and `_.-~` stay."""
    return quote(text, safe="")
