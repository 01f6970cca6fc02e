"""The series of six small clusters, planted so that it shows in every answer whether `stage` is in it.

One sample per 15 s for half an hour, off the steps of the queries. `stage` has the highest load and the lowest, and
alone the errors, the quotas and the target `dns`; `prod` alone has `mail` and the owners; `dev` has what its own engine
cannot match, `test` more samples than its server may load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from federation_core.labels import Labels
from tests.support.sample_store import Series
from tests.support.stack import CLUSTERS

START_S, STEP_S, SCRAPES = 1_790_006_400, 15, 120
DARK = "stage"
LIT = tuple(sorted(set(CLUSTERS) - {DARK}))
#: Above this the server of `LIMITED` refuses to go on; everything but `bulk` stays far below.
LIMITED, MOST_SAMPLES, BULK_SERIES = "test", 5_000, 60
BOUNDS = ("0.1", "0.5", "1", "+Inf")
_LOADS = {"app-prod": 31.0, "dev": 17.5, "prod": 88.0, "shared-services": 45.0, "stage": 97.0, "test": 23.0}


def stores() -> dict[str, list[Series]]:
    """Return cluster → its series, without the label `cluster`."""
    return {cluster: list(_series_of(cluster, number + 1)) for number, cluster in enumerate(sorted(CLUSTERS))}


def _series_of(cluster: str, weight: int) -> Iterator[Series]:
    for instance in range(weight + 1):
        yield _gauge("up", {"job": "web", "instance": f"web-{instance}"}, [float(instance != 2)] * SCRAPES)
    for node, factor in (("a", 1.0), ("b", 0.1 if cluster == DARK else 0.9)):
        wave = [factor * _LOADS[cluster] + 0.25 * (i % (weight + 3)) for i in range(SCRAPES)]
        yield _gauge("load", {"node": f"{cluster}-{node}"}, wave)
    for service in ("gateway", "cart", "pay")[: 3 if cluster in (DARK, "prod") else 2]:
        rate = weight * (11 if cluster == DARK else 4)
        yield _gauge("requests_total", {"service": service}, [float(rate * i) for i in range(SCRAPES)])
        for bound, each in zip(BOUNDS, (0, 0, 9, 9) if cluster == DARK else (4, 6, 8, 9), strict=True):
            yield _gauge("seconds_bucket", {"service": service, "le": bound}, [float(each * i) for i in range(SCRAPES)])
    yield _gauge("blocked", {"service": "cart" if cluster == DARK else "nobody"}, [1.0] * SCRAPES)
    yield from _only(cluster)


def _only(cluster: str) -> Iterator[Series]:
    match cluster:
        case "stage":
            yield _gauge("up", {"job": "dns"}, [1.0] * SCRAPES)
            yield _gauge("errors_total", {"service": "pay"}, [float(3 * i) for i in range(SCRAPES)])
            yield _gauge("quota", {"service": "gateway"}, [500.0] * SCRAPES)
        case "prod":
            yield _gauge("up", {"job": "mail"}, [1.0] * SCRAPES)
            yield _gauge("owner", {"service": "gateway", "team": "edge"}, [1.0] * SCRAPES)
            # It ends half way.
            yield _gauge("retries_total", {"service": "pay"}, [float(i) for i in range(SCRAPES // 2)])
        case "dev":
            for shelf in ("left", "right"):
                yield _gauge("twice", {"service": "gateway", "shelf": shelf}, [1.0] * SCRAPES)
        case "test":
            for number in range(BULK_SERIES):
                yield _gauge("bulk", {"number": str(number)}, [1.0] * SCRAPES)
        case _:
            yield _gauge("bulk", {"number": "0"}, [1.0] * SCRAPES)


def _gauge(name: str, labels: Mapping[str, str], values: list[float]) -> Series:
    times_ms = [(START_S + i * STEP_S) * 1000 + 7_300 for i in range(len(values))]
    return Labels.of({"__name__": name, **labels}), times_ms, values
