"""The configuration: clusters and settings, read from YAML texts and the environment into frozen values.

Rule: everything is checked at start, and a mistake is answered with the file, the line, what stands there and
what would be right. Nothing here opens a file or reads the process environment: both are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from federation_core.backend_entry import Backend as Backend
from federation_core.backend_entry import read_backend, read_retention
from federation_core.errors import InvalidConfig
from federation_core.topology.shares import shares
from federation_core.yaml_nodes import NAME, Node, read_yaml

#: What a backend may serve.
SIGNALS = ("metrics", "traces", "logs", "inventory")
#: What series there are, and their exemplars, is asked of the system that has their samples: they have no entry.
SERVED_BY = {"series": "metrics", "exemplars": "metrics"}
#: A tenant's queries that run at once, and all clusters' shards that are on their way, unless it is told otherwise.
MAX_RUNNING_JOBS, MAX_SHARDS_IN_FLIGHT = 200, 1_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What one cluster's backends are asked at most: leaves per second, and shards at once.

    A shard above `max_concurrent` waits in the cluster's queue, which holds `max_queued`; above that it is not sent.
    """

    requests_per_second: float = 200.0
    burst: int = 400
    max_concurrent: int = 16
    max_queued: int = 256

    @property
    def max_in_flight(self) -> int:
        """How many shards may be sent and not answered."""
        return self.max_concurrent + self.max_queued


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes cluster: its name is its identity, its queue is `cluster.<name>`.

    `retention_ms` is how long back its backends have everything, unless their own say it; None is not known.
    """

    name: str
    environment: str
    backends: tuple[Backend, ...]
    region: str = ""
    weight: float = 1.0
    retention_ms: int | None = None
    rate_limit: RateLimit = field(default_factory=RateLimit)

    @property
    def queue(self) -> str:
        """The name of the task queue that this cluster's workers consume."""
        return f"cluster.{self.name}"

    def backend_for(self, signal: str) -> Backend | None:
        """Return the backend of a signal, or None where the cluster has none."""
        entry = SERVED_BY.get(signal, signal)
        found = next((backend for backend in self.backends if backend.signal == entry), None)
        return found if found is None or signal == entry else replace(found, signal=signal)

    def kept_ms(self, signal: str) -> int | None:
        """How long back the backend of a signal has everything; None where nobody has said it."""
        backend = self.backend_for(signal)
        own_ms = backend.retention_ms if backend else None
        return self.retention_ms if own_ms is None else own_ms

    def scraped_every_ms(self, signal: str) -> int | None:
        """How far apart the samples of a series are at least, behind a signal's backend; None where nobody has said."""
        backend = self.backend_for(signal)
        return backend.scrape_interval_ms if backend else None


@dataclass(frozen=True, slots=True)
class Auth:
    """How tokens are verified. `key` is the shared secret or the PEM public key of the pinned `algorithm`."""

    enabled: bool = False
    algorithm: str = "HS256"
    key: str = field(default="", repr=False)
    issuer: str = ""
    audience: str = ""

    def require_key(self) -> None:
        """Refuse to verify tokens without a key that is fit for it; only the web tier needs one.

        Raises InvalidConfig: authentication is on and the key is missing or too short.
        """
        if not self.enabled:
            return
        if not self.key:
            raise InvalidConfig(
                "AUTH_ENABLED is true and no key is given: set JWT_KEY or JWT_KEY_FILE,"
                " or AUTH_ENABLED=false for one open scope on loopback"
            )
        # RFC 7518 §3.2: an HMAC key is at least as long as the hash's output.
        shortest = int(self.algorithm[2:]) // 8 if self.algorithm.startswith("HS") else 1
        if len(self.key) < shortest:
            raise InvalidConfig(
                f"JWT_KEY is too short for {self.algorithm}: {len(self.key)} bytes, at least {shortest}"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a role needs to know. Times in ms.

    `max_running_jobs` is a tenant's, where its token states none; `max_shards_in_flight` that of all clusters together.
    """

    clusters: tuple[Cluster, ...]
    redis_url: str = field(default="", repr=False)
    auth: Auth = field(default_factory=Auth)
    region: str = "local"
    default_timeout_ms: int = 30_000
    max_timeout_ms: int = 600_000
    result_ttl_ms: int = 3_600_000
    #: The most one cluster's part, or one result, may be when it is encoded.
    max_result_bytes: int = 64 * 1024 * 1024
    max_running_jobs: int = MAX_RUNNING_JOBS
    max_shards_in_flight: int = MAX_SHARDS_IN_FLIGHT
    log_level: str = "INFO"

    def cluster(self, name: str) -> Cluster:
        """Return a cluster by name.

        Raises InvalidConfig: it is not configured; names those that are.
        """
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        known = ", ".join(cluster.name for cluster in self.clusters)
        raise InvalidConfig(f"cluster {name!r} is not configured; configured: {known}")


#: Every environment variable we read, with what it means; `docs/operations.md` lists the same.
ENVIRONMENT = {
    "APPSENTRY_CONFIG": "the configuration folder or clusters.yaml (also CLUSTER_CONFIG)",
    "CLUSTER_CONFIG": "the same as APPSENTRY_CONFIG, which wins",
    "REDIS_URL": "redis:// or rediss:// URL of the broker and the stores",
    "AUTH_ENABLED": "true (default) verifies a JWT per request; false opens one scope, on loopback only",
    "JWT_KEY": "the secret (HS*) or PEM public key (RS*, ES*) that verifies tokens",
    "JWT_KEY_FILE": "a file holding JWT_KEY",
    "JWT_ALGORITHM": "the one accepted algorithm, default HS256",
    "JWT_ISSUER": "the required issuer claim, if set",
    "JWT_AUDIENCE": "the required audience claim, if set",
    "REGION": "the name of this region",
    "MAX_RUNNING_JOBS": "how many queries of one tenant run at once, default 200; a token may state another number",
    "MAX_SHARDS_IN_FLIGHT": "how many shards are sent and not answered, all clusters together, default 1000",
    "LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
}
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_ALGORITHMS = ("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA")


def parse(environ: Mapping[str, str], texts: Mapping[str, str], folder: str = ".") -> Settings:
    """Read the settings from the environment and the texts of the YAML files (file name → content).

    A relative `path` of a backend is taken from `folder`, where the files lie.

    Raises InvalidConfig: with file and line.
    """
    clusters: list[Cluster] = []
    seen: dict[str, str] = {}
    for file in sorted(texts):
        top = read_yaml(file, texts[file]).mapping(("clusters",))
        for node in top.require("clusters").items():
            cluster = _cluster(node, folder)
            if cluster.name in seen:
                node.fail(f"cluster {cluster.name!r} is already defined at {seen[cluster.name]}")
            seen[cluster.name] = node.origin
            clusters.append(cluster)
    if not clusters:
        raise InvalidConfig("no cluster is configured: clusters.yaml needs at least one entry under `clusters`")
    max_shards = _count(environ, "MAX_SHARDS_IN_FLIGHT", MAX_SHARDS_IN_FLIGHT)
    shares({cluster.name: cluster.weight for cluster in clusters}, max_shards)
    return Settings(
        clusters=tuple(sorted(clusters, key=lambda c: c.name)),
        redis_url=_redis_url(environ),
        auth=_auth(environ),
        region=_region(environ),
        max_running_jobs=_count(environ, "MAX_RUNNING_JOBS", MAX_RUNNING_JOBS),
        max_shards_in_flight=max_shards,
        log_level=_one_of(environ, "LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
    )


def _cluster(node: Node, folder: str) -> Cluster:
    entry = node.mapping(("name", "environment", "region", "weight", "retention", "rateLimit", "backends"))
    weight = entry.get("weight")
    retention = entry.get("retention")
    rate = entry.get("rateLimit")
    backends = entry.require("backends").mapping(SIGNALS)
    if not backends.present():
        node.fail(f"`backends` is empty; give at least one of {', '.join(SIGNALS)}")
    read = tuple(read_backend(signal, backends.require(signal), folder) for signal in backends.present())
    of_metrics = any(backend.signal == "metrics" and backend.retention_ms is None for backend in read)
    return Cluster(
        name=entry.require("name").name(),
        environment=entry.require("environment").name(),
        region=region.text() if (region := entry.get("region")) else "",
        weight=weight.number(above=0) if weight else 1.0,
        retention_ms=read_retention(retention, of_metrics=of_metrics) if retention else None,
        rate_limit=_rate_limit(rate) if rate else RateLimit(),
        backends=read,
    )


def _rate_limit(node: Node) -> RateLimit:
    keys = ("requestsPerSecond", "burst", "maxConcurrent", "maxQueued")
    entry = node.mapping(keys)
    default = RateLimit()
    rate, burst, cap, queued = (entry.get(key) for key in keys)
    return RateLimit(
        rate.number(above=0) if rate else default.requests_per_second,
        burst.integer(at_least=1) if burst else default.burst,
        cap.integer(at_least=1) if cap else default.max_concurrent,
        queued.integer(at_least=0) if queued else default.max_queued,
    )


def _redis_url(environ: Mapping[str, str]) -> str:
    url = environ.get("REDIS_URL", "")
    if url and not url.startswith(("redis://", "rediss://")):
        raise InvalidConfig("REDIS_URL: the URL starts with redis:// or rediss://")
    return url


def _region(environ: Mapping[str, str]) -> str:
    """The region becomes a part of every query's id, which stands in URLs."""
    region = environ.get("REGION") or "local"
    if not NAME.fullmatch(region):
        raise InvalidConfig(f"REGION: {region!r} is not a name; use a-z, 0-9 and inner dashes, at most 63 characters")
    return region


def _auth(environ: Mapping[str, str]) -> Auth:
    enabled = _one_of(environ, "AUTH_ENABLED", ("true", "false"), "true") == "true"
    algorithm = _one_of(environ, "JWT_ALGORITHM", _ALGORITHMS, "HS256")
    key = environ.get("JWT_KEY", "")
    return Auth(enabled, algorithm, key, environ.get("JWT_ISSUER", ""), environ.get("JWT_AUDIENCE", ""))


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not _COUNT.fullmatch(text):
        raise InvalidConfig(f"{name}: {text!r} is not a whole number from 1 to 999999999")
    return int(text)


def _one_of(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    got = environ.get(name, default)
    for choice in allowed:
        if got.lower() == choice.lower():
            return choice
    raise InvalidConfig(f"{name}: {got!r} is not one of {', '.join(allowed)}")
