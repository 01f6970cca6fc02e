"""Every recorded exchange is replayed by a test, or stands here with the reason why it is not.

Rule: `recordings.csv` is the recordings' own index, all of it. A file that is copied into `tests/fixtures/backends` is
there because a test puts it to a connector (or holds a model of the server to it); what no connector asks stays out.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "fixtures" / "backends"
#: The folder of the index → where its files lie here.
FOLDERS = {"loki": "loki", "tempo": "tempo", "jaeger": "victoriatraces", "prometheus": "prometheus"}
#: Folder → the tests that replay what is in it.
REPLAYED_BY = {
    "loki": ("contract/test_loki.py", "unit/support/test_loki_model.py"),
    "tempo": ("contract/test_tempo.py",),
    "jaeger": ("contract/test_jaeger.py",),
    "prometheus": ("contract/test_prometheus_recorded.py",),
}
_STATE = "a page about the process: a probe asks for data instead, because what says it is ready need not answer"
_ANOTHER_SERVICE = "the same search of another service as in those that are replayed"
_METRIC_LOGS = "a number computed from lines: LogQL's metric queries are no part of our language"
#: Pattern of an exchange that is here and put to no connector → why.
NOT_ASKED: Mapping[str, str] = {
    "loki/ready": _STATE,
    "tempo/ready": _STATE,
    "prometheus/ready*": _STATE,
    "prometheus/healthy": _STATE,
    "loki/query-instant-*-400": "an instant query, which Loki refuses for lines: only ranges are asked for",
    "loki/query-range-json-parser-error-label": "a parser in the query: our language has none",
    "loki/query-range-no-time-window-given": "the last hour of the recording's clock: the connector always says when",
    "loki/query-range-no-query-400": "the connector always has a query",
    "loki/query-range-bad-start-400": "the connector's times are nanoseconds, which are always read",
    "tempo/tag-values-v2-service.name-*": "the same question as of app-prod, whose answer is replayed",
    "tempo/trace-v1-json-*": "version 1 is asked where version 2 is missing; one trace's exchange is replayed for all",
    "jaeger/traces-default-limit": "the connector always says how many",
    "jaeger/traces-start-in-milliseconds": "the connector's times are microseconds",
    "jaeger/traces-service-auth-limit-5-shared-services": _ANOTHER_SERVICE,
    "jaeger/traces-service-checkout-limit-5-prod": _ANOTHER_SERVICE,
    "jaeger/traces-service-frontend-limit-5-prod": _ANOTHER_SERVICE,
    "jaeger/traces-service-inventory-limit-5-app-prod": _ANOTHER_SERVICE,
    "jaeger/traces-service-orders-api-limit-5-app-prod": _ANOTHER_SERVICE,
    "jaeger/traces-service-postgres-proxy-limit-5-shared-services": _ANOTHER_SERVICE,
    "prometheus/query-no-time": "the connector always says when, and a test sees it do so",
    "prometheus/query-string": "a text needs no cluster: the centre answers it, and a test compares it",
    "prometheus/query-scalar": "a number needs no cluster: the centre answers it, and a test compares it",
    "prometheus/rules-empty": "no rules are asked for: the façade says of itself that it has none, in the same words",
    "prometheus/targets-empty": "a page about scraping, which no connector reads",
}
#: Pattern of an exchange that was not copied → why.
NOT_COPIED: Mapping[str, str] = {
    "loki/buildinfo": "its shape is the same as Prometheus' and is put to the connector by hand",
    "tempo/buildinfo": "its shape is the same as Prometheus' and is put to the connector by hand",
    "loki/detected-labels": "statistics for a query builder",
    "loki/index-*": "counts of the index, zero for what is in memory and too high later: never used",
    "loki/patterns": "statistics for a query builder",
    "loki/label-values-*": "no connector lists values of Loki's labels: names of streams come with their lines",
    "loki/query-instant-scalar-literal": _METRIC_LOGS,
    "loki/query-instant-vector-*": _METRIC_LOGS,
    "loki/query-range-binary-op-*": _METRIC_LOGS,
    "loki/query-range-count-over-time-*": _METRIC_LOGS,
    "loki/query-range-empty-matrix-result": _METRIC_LOGS,
    "loki/query-range-quantile-unwrap": _METRIC_LOGS,
    "loki/query-range-rate-*": _METRIC_LOGS,
    "loki/query-range-step-*": _METRIC_LOGS,
    "loki/query-range-too-many-points-400": _METRIC_LOGS,
    "loki/query-range-unwrap-*": _METRIC_LOGS,
    "loki/query-range-json-parser-adds-labels": "a parser in the query: our language has none",
    "tempo/echo": _STATE,
    "tempo/metrics-*": "a number computed from spans: TraceQL's metric queries are no part of our language",
    "tempo/search-by-event-name": "events are no part of our TraceQL",
    "tempo/search-by-link": "links are no part of our TraceQL",
    "tempo/search-count-pipeline": "pipelines are no part of our TraceQL",
    "tempo/search-select-attributes": "pipelines are no part of our TraceQL",
    "tempo/search-structural-*": "a parent may be in another cluster, so that no cluster is asked for structure",
    "tempo/search-no-q-no-tags": "the connector always has a query",
    "tempo/search-tags-*": "the older way to search, by tags: the connector sends TraceQL",
    "tempo/search-two-tenants": "an entry of the configuration has one tenant",
    "tempo/tag-values-v1-*": "version 2 is asked",
    "tempo/tag-values-v2-*": "values of services alone are listed",
    "tempo/tags-v2-*": "names of attributes are not listed",
    "tempo/trace-v1-protobuf-*": "JSON is asked for",
    "tempo/trace-v2-protobuf-*": "JSON is asked for",
    "jaeger/dependencies-unsupported-400": "no connector asks for dependencies: they are of all clusters together",
    "jaeger/health": _STATE,
    "jaeger/operations-*": "names of operations are not listed",
}  # fmt: skip


def indexed() -> list[str]:
    """Return every recorded exchange as `folder/name`."""
    with (FOLDER / "recordings.csv").open(encoding="utf-8", newline="") as lines:
        return [row["file"].removesuffix(".json") for row in csv.DictReader(lines)]


def copied() -> set[str]:
    return {f"{folder}/{file.stem}" for folder, here in FOLDERS.items() for file in (FOLDER / here).glob("*.json")}


def reasons(name: str, listed: Mapping[str, str]) -> list[str]:
    return [pattern for pattern in listed if fnmatchcase(name, pattern)]


def test_the_index_is_whole() -> None:
    folders = Counter(name.partition("/")[0] for name in indexed())
    assert folders == {"loki": 99, "tempo": 156, "jaeger": 86, "prometheus": 52}


def test_what_is_copied_is_in_the_index() -> None:
    assert copied() <= set(indexed())


def test_every_recording_is_here_or_left_out_for_one_reason() -> None:
    left_out = {name: reasons(name, NOT_COPIED) for name in indexed() if name not in copied()}
    assert {name: why for name, why in left_out.items() if len(why) != 1} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_here_is_replayed(folder: str) -> None:
    tests = [(ROOT / file).read_text(encoding="utf-8") for file in REPLAYED_BY[folder]]
    assert all("read_exchange" in test for test in tests)
    assert any(name.startswith(f"{folder}/") and not reasons(name, NOT_ASKED) for name in copied())


@pytest.mark.parametrize("listed", [NOT_ASKED, NOT_COPIED], ids=["not asked", "not copied"])
def test_every_reason_is_needed(listed: Mapping[str, str]) -> None:
    meant = copied() if listed is NOT_ASKED else set(indexed()) - copied()
    assert [pattern for pattern in listed if not any(fnmatchcase(name, pattern) for name in meant)] == []
