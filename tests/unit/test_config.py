"""The configuration: every mistake is answered with its place and with what would be right."""

from __future__ import annotations

import pytest

from federation_core.config import Auth, parse
from federation_core.errors import InvalidConfig
from federation_core.signals.metrics.windows import LOOKBACK_MS

OPEN = {"AUTH_ENABLED": "false"}
PROD = """\
clusters:
  - name: prod
    environment: prod
    region: eu-west-1
    weight: 2
    retention: 30d
    rateLimit: {requestsPerSecond: 5, burst: 10, maxConcurrent: 4, maxQueued: 0}
    backends:
      metrics: {kind: embedded, path: ./data/prod}
      logs: {kind: loki, url: "http://loki.monitoring:3100"}
"""


def test_name_environment_and_one_backend_are_enough() -> None:
    text = "clusters: [{name: a, environment: dev, backends: {logs: {kind: embedded, path: x}}}]"
    (cluster,) = parse(OPEN, {"clusters.yaml": text}).clusters
    assert (cluster.weight, cluster.rate_limit.max_concurrent, cluster.retention_ms) == (1.0, 16, None)
    assert cluster.rate_limit.max_in_flight == 16 + 256
    assert cluster.backend_for("metrics") is None


def test_everything_given_is_read() -> None:
    (cluster,) = parse(OPEN, {"clusters.yaml": PROD}, "/etc/appsentry").clusters
    assert (cluster.region, cluster.weight, cluster.retention_ms) == ("eu-west-1", 2.0, 30 * 86_400_000)
    assert (cluster.rate_limit.requests_per_second, cluster.rate_limit.burst) == (5.0, 10)
    assert (cluster.rate_limit.max_concurrent, cluster.rate_limit.max_queued) == (4, 0)
    assert cluster.queue == "cluster.prod"
    metrics = cluster.backend_for("metrics")
    assert metrics is not None
    assert (metrics.path, metrics.origin) == ("/etc/appsentry/data/prod", "clusters.yaml:9")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("30d", "30x", r"clusters\.yaml:6: retention: '30x' is not a duration"),
        ("weight: 2", "weight: -2", r":5: weight: -2 is out of range"),
        ("weight: 2", "weight: heavy", r":5: weight: 'heavy' is not a number"),
        ("weight: 2", "wieght: 2", r":5: unknown key 'wieght'; known here: name"),
        ("region: eu-west-1", "name: twice", r":4: key 'name' is given twice"),
        ("name: prod", "name: Prod_1", r":2: name: 'Prod_1' is not a name"),
        ("    environment: prod\n", "", r":2: `environment` is missing"),
        ("burst: 10", "burst: 1.5", r":7: burst: 1\.5 is not a whole number"),
        ("maxQueued: 0", "maxQueued: -1", r":7: maxQueued: -1 is out of range"),
        ("path: ./data/prod", "path: x, url: http://y", r":9: metrics: a backend needs `url` or `path`"),
        ("http://loki", "ftp://loki", r":10: url: 'ftp://loki.* is not a URL"),
        ("metrics:", "metrix:", r":9: unknown key 'metrix'"),
        ("clusters:\n", "clusters: [\n", r"clusters\.yaml:\d+: not YAML"),
        (PROD, "", r"clusters\.yaml:1: the file is empty"),
        (PROD, "clusters: {}", r":1: clusters: a mapping is not a list"),
        (PROD, "clusters: []", r"no cluster is configured"),
    ],
)
def test_a_mistake_is_answered_with_file_line_and_what_would_be_right(old: str, new: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        parse(OPEN, {"clusters.yaml": PROD.replace(old, new)})


REPLICAS = "clusters: [{name: a, environment: dev, backends: {%s: {kind: prometheus, url: 'http://x', %s}}}]"


def test_labels_of_replicas_are_read_and_hold_for_series_too() -> None:
    text = REPLICAS % ("metrics", "replicaLabels: [replica, prometheus_replica]")
    (cluster,) = parse(OPEN, {"clusters.yaml": text}).clusters
    for signal in ("metrics", "series"):
        backend = cluster.backend_for(signal)
        assert backend is not None
        assert backend.replica_labels == ("replica", "prometheus_replica")


@pytest.mark.parametrize(
    ("signal", "given", "said"),
    [
        ("metrics", "replicaLabels: replica", "'replica' is not a list"),
        ("metrics", "replicaLabels: [a-b]", "'a-b' is no label of a backend's own"),
        ("metrics", "replicaLabels: [cluster]", "'cluster' is no label of a backend's own"),
        ("metrics", "replicaLabels: [__name__]", "'__name__' is no label of a backend's own"),
        ("logs", "replicaLabels: [replica]", "they are for metrics, and this backend serves logs"),
    ],
)
def test_what_cannot_tell_replicas_apart_is_refused(signal: str, given: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        parse(OPEN, {"clusters.yaml": REPLICAS % (signal, given)})


def test_a_backend_may_keep_its_data_for_another_time_than_its_cluster_and_be_scraped_at_an_interval() -> None:
    text = """
clusters:
  - name: prod
    environment: prod
    retention: 30d
    backends:
      metrics: {kind: prometheus, url: "http://p:9090", retention: 15d, scrapeInterval: 30s}
      logs: {kind: embedded, path: x, retention: 1w}
      traces: {kind: embedded, path: x}
"""
    (cluster,) = parse(OPEN, {"clusters.yaml": text}).clusters
    day_ms = 86_400_000
    kept = {signal: cluster.kept_ms(signal) for signal in ("metrics", "series", "logs", "traces")}
    assert kept == {"metrics": 15 * day_ms, "series": 15 * day_ms, "logs": 7 * day_ms, "traces": 30 * day_ms}
    assert [cluster.scraped_every_ms(signal) for signal in ("metrics", "logs")] == [30_000, None]


@pytest.mark.parametrize(
    ("signal", "given", "said"),
    [
        ("metrics", "retention: 15x", "retention: '15x' is not a duration"),
        ("metrics", "scrapeInterval: 0s", "scrapeInterval: the duration is zero"),
        ("logs", "scrapeInterval: 30s", "scrapeInterval: it is for metrics, and this backend serves logs"),
        ("inventory", "retention: 15d", "retention: it is for what has a time, and an inventory is of now"),
    ],
)
def test_what_is_said_of_a_backend_without_meaning_is_refused(signal: str, given: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        parse(OPEN, {"clusters.yaml": REPLICAS % (signal, given)})


@pytest.mark.parametrize(
    ("of_cluster", "metrics", "logs", "refused_at"),
    [
        ("4m", "", "", 5),
        ("299999ms", "", ", retention: 1h", 5),
        ("1h", ", retention: 1m", "", 7),
        ("5m", "", "", 0),
        ("1h", ", retention: 5m", ", retention: 1m", 0),
        ("1m", ", retention: 1h", "", 0),
    ],
)
def test_metrics_are_kept_for_as_long_as_every_query_looks_back(
    of_cluster: str, metrics: str, logs: str, refused_at: int
) -> None:
    text = f"""
clusters:
  - name: prod
    environment: prod
    retention: {of_cluster}
    backends:
      metrics: {{kind: prometheus, url: "http://p:9090"{metrics}}}
      logs: {{kind: loki, url: "http://l:3100"{logs}}}
"""
    if not refused_at:
        assert parse(OPEN, {"clusters.yaml": text}).clusters[0].kept_ms("metrics") >= LOOKBACK_MS
        return
    with pytest.raises(InvalidConfig, match=rf"yaml:{refused_at}: retention: '.*' is less than the 5m .* looks back"):
        parse(OPEN, {"clusters.yaml": text})


def test_a_store_beside_us_has_no_replicas() -> None:
    text = "clusters: [{name: a, environment: d, backends: {metrics: {kind: embedded, path: x, replicaLabels: [r]}}}]"
    with pytest.raises(InvalidConfig, match="`replicaLabels` are for a backend with a `url`"):
        parse(OPEN, {"clusters.yaml": text})


def test_caps_have_defaults_and_are_read_from_the_environment() -> None:
    default = parse(OPEN, {"clusters.yaml": PROD})
    assert (default.max_running_jobs, default.max_shards_in_flight) == (200, 1_000)
    told = parse(OPEN | {"MAX_RUNNING_JOBS": "7", "MAX_SHARDS_IN_FLIGHT": "80"}, {"clusters.yaml": PROD})
    assert (told.max_running_jobs, told.max_shards_in_flight) == (7, 80)


@pytest.mark.parametrize("name", ["MAX_RUNNING_JOBS", "MAX_SHARDS_IN_FLIGHT"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "9" * 5000])
def test_a_cap_that_is_no_count_is_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{name}: .* is not a whole number"):
        parse(OPEN | {name: text}, {"clusters.yaml": PROD})


def test_a_cap_too_small_for_all_clusters_is_refused() -> None:
    two = PROD + PROD.replace("clusters:\n", "").replace("name: prod", "name: dev").replace("weight: 2", "weight: 1")
    with pytest.raises(InvalidConfig, match="MAX_SHARDS_IN_FLIGHT: 2 leaves cluster dev"):
        parse(OPEN | {"MAX_SHARDS_IN_FLIGHT": "2"}, {"clusters.yaml": two})


def test_a_cluster_defined_twice_names_both_places() -> None:
    with pytest.raises(InvalidConfig, match=r"b\.yaml:2.*already defined at a\.yaml:2"):
        parse(OPEN, {"a.yaml": PROD, "b.yaml": PROD})


def test_authentication_is_on_unless_it_is_switched_off() -> None:
    assert parse({}, {"clusters.yaml": PROD}).auth.enabled
    assert not parse(OPEN, {"clusters.yaml": PROD}).auth.enabled
    with pytest.raises(InvalidConfig, match="AUTH_ENABLED: 'maybe'"):
        parse({"AUTH_ENABLED": "maybe"}, {"clusters.yaml": PROD})


def test_a_web_tier_without_a_fit_key_does_not_start() -> None:
    Auth(enabled=False).require_key()
    Auth(enabled=True, key="k" * 32).require_key()
    with pytest.raises(InvalidConfig, match="no key is given"):
        Auth(enabled=True).require_key()
    with pytest.raises(InvalidConfig, match="too short for HS256: 6 bytes, at least 32"):
        Auth(enabled=True, key="secret").require_key()


def test_secrets_do_not_print() -> None:
    settings = parse({"JWT_KEY": "k" * 40, "REDIS_URL": "redis://:hunter2@h:1/0"}, {"clusters.yaml": PROD})
    assert "hunter2" not in repr(settings)
    assert "kkk" not in repr(settings)


def test_a_redis_url_of_another_kind_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidConfig, match="redis://") as caught:
        parse({**OPEN, "REDIS_URL": "http://user:hunter2@h"}, {"clusters.yaml": PROD})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("region", ["EU West", "eu/west", "-a", "a" * 64])
def test_a_region_that_cannot_be_part_of_an_id_is_refused(region: str) -> None:
    assert parse(OPEN | {"REGION": "eu-west-1"}, {"clusters.yaml": PROD}).region == "eu-west-1"
    with pytest.raises(InvalidConfig, match="REGION"):
        parse(OPEN | {"REGION": region}, {"clusters.yaml": PROD})
