"""`appsentry serve` over real backends, right and wrong: each is said of its own cluster, and the others do not notice.

Four Prometheus servers (two plain, one behind a password, one behind TLS that wants to see a certificate) and a
VictoriaMetrics hold the lab's clusters; a sixth server that holds all of them is the oracle.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from federation_core.query import TimeRange
from tests.e2e.command_line import Running, run, wait_until
from tests.oracle import lab_data
from tests.oracle.answers import difference, read
from tests.support.certificates import Authority
from tests.support.prometheus_server import (
    PrometheusClient,
    _free_port,
    prometheus_holding,
    prometheus_on,
    write_blocks,
)
from tests.support.victoria_metrics import victoria_metrics_holding

pytestmark = pytest.mark.heavy
USER, PASSWORD = "reader", "right-password"
#: bcrypt of the password above, as cheap as it may be.
HASH = "$2b$04$mEcEBpUjoDz9rsahWA9iGeay7hz8vpKV9RiAner42zyT/aCwzDchO"
CLUSTERS = ("app-prod", "dev", "prod", "stage", "test")
AT_S = lab_data.T0_S + 4000
COUNT = "count by (cluster) (up)"
SECRETS = (PASSWORD, "wrong-password", "password.txt", "ca.pem", "127.0.0.1", "/nowhere")
#: What is wrong with a cluster → what is said of it, as a pattern.
PASSWORD_WRONG = r"the backend refuses our credentials \(401\)"
#: A server may end the connection before what it says of the certificate has arrived.
CERTIFICATE_WRONG = "refuses? our (client )?certificate"
CA_UNKNOWN = "the backend's certificate is signed by an authority we do not trust"
PORT_WRONG = "no connection to the backend: Connection refused"
PATH_WRONG = "the backend answers 404, which is none of Prometheus' API"


@dataclass
class Backends:
    """The entry of each cluster in a configuration, the folder for it, and the server that holds everything."""

    entries: Mapping[str, str]
    folder: Path
    oracle: PrometheusClient

    def configured(self, name: str, **changed: str) -> Path:
        """Write the configuration in a folder of its own, some entries changed, with secrets that are right."""
        folder = self.folder / name
        folder.mkdir()
        lines = ["clusters:"]
        for cluster, entry in {**self.entries, **changed}.items():
            lines += [f"  - name: {cluster}", "    environment: prod", "    backends:", f"      metrics: {entry}"]
        (folder / "clusters.yaml").write_text("\n".join(lines) + "\n")
        (folder / "password.txt").write_text(PASSWORD)
        for file in self.folder.glob("authority/*"):
            shutil.copy(file, folder)
        shutil.copy(folder / "authority.pem", folder / "ca.pem")
        return folder


@pytest.fixture(scope="module")
def backends(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    folder = tmp_path_factory.mktemp("real")
    stores = {name: series for name, series in lab_data.clusters().items() if name in CLUSTERS}
    authority = Authority(folder / "authority")
    authority.issue("client")
    cert, key = authority.issue("server", "127.0.0.1")
    web = {
        "prod": f"basic_auth_users: {{{USER}: '{HASH}'}}\n",
        "app-prod": f"tls_server_config: {{cert_file: {cert}, key_file: {key}, client_ca_file: {authority.file},"
        " client_auth_type: RequireAndVerifyClientCert}\n",
    }
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def over_tls(address: str) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(folder / "authority" / "client.pem", folder / "authority" / "client.key")
        return http.client.HTTPSConnection(address, timeout=5, context=context)

    with ExitStack() as running:
        addresses = {}
        for name in ("app-prod", "dev", "prod", "stage"):
            held, flags = folder / f"held-{name}", list[str]()
            more: dict[str, Any] = {}
            held.mkdir()
            lab_data.write_openmetrics({"": stores[name]}, held / "all.om")
            write_blocks(held / "all.om", held)
            if name in web:
                (held / "web.yml").write_text(web[name])
                flags = [f"--web.config.file={held / 'web.yml'}"]
                more = {"connect": over_tls} if name == "app-prod" else {"headers": {"Authorization": f"Basic {token}"}}
            addresses[name] = running.enter_context(prometheus_on(prometheus_binary, held, *flags, **more))
        addresses["test"] = running.enter_context(victoria_metrics_holding(stores["test"], folder / "victoria"))
        (folder / "oracle").mkdir()
        oracle = running.enter_context(prometheus_holding(prometheus_binary, stores, folder / "oracle"))
        entries = {name: f"{{kind: prometheus, url: http://{address}}}" for name, address in addresses.items()}
        entries["prod"] = (
            f"{{kind: prometheus, url: http://{addresses['prod']},"
            f" access: {{username: {USER}, passwordFile: password.txt}}}}"
        )
        entries["app-prod"] = (
            f"{{kind: prometheus, url: https://{addresses['app-prod']},"
            " access: {caFile: ca.pem, certFile: client.pem, keyFile: client.key}}"
        )
        yield Backends(entries, folder, running.enter_context(closing(PrometheusClient(oracle))))


@dataclass
class Served:
    """A federation that runs, as its users meet it."""

    url: str
    config: Path

    def get(self, path: str, **fields: object) -> tuple[int, Any, Mapping[str, str]]:
        asked = f"{self.url}{path}?{urlencode(fields)}"
        try:
            with urlopen(asked, timeout=30) as reply:
                return reply.status, json.loads(reply.read()), dict(reply.headers)
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), dict(error.headers)

    def statuses(self) -> dict[str, str]:
        return {row["name"]: row["status"] for row in self.get("/api/v1/clusters")[1]["clusters"]}

    def versions(self) -> dict[str, str]:
        return {name: self.get(f"/api/v1/clusters/{name}/health")[1]["backends"][0]["version"] for name in CLUSTERS}

    def command(self, *arguments: str) -> tuple[int, str]:
        done = run(*arguments, folder=self.config.parent, APPSENTRY_URL=self.url, COLUMNS="200")
        return done.returncode, done.stdout + done.stderr

    def until(self, wanted: Mapping[str, str]) -> None:
        wait_until(lambda: self.statuses() == wanted, self.statuses)

    def counted(self) -> tuple[set[str], dict[str, str], str]:
        """Ask something of every cluster; return whose answers are there, why others are not, and the status."""
        body = json.dumps({"query": COUNT, "time": str(AT_S)}).encode()
        asked = Request(f"{self.url}/api/v1/metrics/query", body, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=30) as reply:
            answer = json.loads(reply.read())
        rows = answer["coverage"]["clusters"]
        missing = {row["cluster"]: row["reason"] for row in rows if row["verdict"] != "ok"}
        return {row["metric"]["cluster"] for row in answer["result"]}, missing, answer["status"]

    def require(self, wrong: Mapping[str, str]) -> None:
        """Check that of these clusters, and of no others, it is said what is wrong, wherever somebody may look."""
        self.until({name: "down" if name in wrong else "healthy" for name in CLUSTERS})
        told = {row["name"]: row["errors"] for row in self.get("/api/v1/clusters")[1]["clusters"]}
        assert {name: list(errors) for name, errors in told.items() if errors} == {name: ["metrics"] for name in wrong}
        answered, missing, status = self.counted()
        assert (answered, missing.keys(), status) == (
            set(CLUSTERS) - wrong.keys(),
            wrong.keys(),
            "partial" if wrong else "complete",
        )
        said = self.command("clusters")[1]
        for name, words in wrong.items():
            code, shown = self.command("clusters", name)
            assert code == 3
            for place in (told[name]["metrics"], missing[name], said, shown):
                assert re.search(words, place)
            (row,) = self.get(f"/api/v1/clusters/{name}/health")[1]["backends"]
            assert (row["status"], row["signal"]) == ("down", "metrics")
            assert re.search(words, row["error"])
            told_anywhere = " ".join((said, shown, json.dumps(told), json.dumps(missing)))
            assert [secret for secret in SECRETS if secret in told_anywhere] == []
        for name in set(CLUSTERS) - wrong.keys():
            (row,) = self.get(f"/api/v1/clusters/{name}/health")[1]["backends"]
            assert (row["status"], row["error"], row["breaker"]["state"]) == ("up", "", "closed")


@contextmanager
def serving(config: Path) -> Iterator[Served]:
    """Run `appsentry serve` until the clusters have been looked at once."""
    stack = Running("serve", "--config", str(config), "--port", str(_free_port()), folder=config, AUTH_ENABLED="false")
    try:
        served = Served(stack.url(), config)
        wait_until(lambda: "unknown" not in served.statuses().values(), served.statuses)
        yield served
    finally:
        stack.close()


@pytest.fixture(scope="module")
def right(backends: Backends) -> Iterator[Served]:
    with serving(backends.configured("right")) as served:
        yield served


class TestRight:
    @pytest.mark.parametrize(
        ("query", "when"),
        [
            ("sum(queue_depth)", None),
            ("sum by (cluster, service) (rate(http_requests_total[5m]))", 60),
            ("topk(3, sum by (cluster, service) (rate(http_requests_total[5m])))", 300),
            ('count by (cluster) (up{cluster=~"prod|test"} == 1)', None),
            ("histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))", None),
            ("sum by (service) (increase(http_requests_total[10m])) / ignoring () count by (service) (up)", 120),
            ("max by (cluster) (queue_depth) > bool on () group_left () scalar(avg(queue_depth))", None),
            ("absent(nothing)", None),
        ],
    )
    def test_the_labs_queries_have_the_oracles_answer(
        self, right: Served, backends: Backends, query: str, when: int | None
    ) -> None:
        if when is None:
            asked, fields, path = TimeRange(AT_S * 1000, AT_S * 1000), {"time": AT_S}, "query"
        else:
            asked = TimeRange((AT_S - 1800) * 1000, (AT_S + 600) * 1000, when * 1000)
            fields, path = {"start": AT_S - 1800, "end": AT_S + 600, "step": when}, "query_range"
        _, mine, headers = right.get(f"/strict/prometheus/api/v1/{path}", query=query, **fields)
        assert difference(read(mine), read(backends.oracle.ask(query, asked))) == ""
        assert "missing" not in headers["X-Federation-Coverage"]

    def test_all_clusters_are_well_and_it_is_said_what_they_are(self, right: Served) -> None:
        right.require({})
        wait_until(lambda: all(right.versions().values()), right.versions)
        found = right.versions()
        assert found.pop("test") == "VictoriaMetrics"
        assert all(version.startswith("Prometheus 2.") for version in found.values()), found
        assert right.command("clusters", "prod")[0] == 0

    def test_no_exemplars_is_an_answer(self, right: Served) -> None:
        status, answer, headers = right.get("/prometheus/api/v1/query_exemplars", query="rate(http_requests_total[5m])")
        assert (status, answer["data"], headers["X-Federation-Coverage"]) == (200, [], "5/5")
        assert answer["warnings"] == ["cluster test: its backend holds no exemplars"]


def test_wrong_secrets_are_said_of_their_clusters_until_they_are_put_right(right: Served, tmp_path: Path) -> None:
    """The files are the ones that the running stack reads: nothing is restarted."""
    other, folder = Authority(tmp_path / "other"), right.config
    other.issue("client")
    files = ("password.txt", "ca.pem", "client.pem", "client.key")
    good = {name: (folder / name).read_bytes() for name in files}
    (folder / "password.txt").write_text("wrong-password")
    right.counted()
    right.require({"prod": PASSWORD_WRONG})
    (folder / "ca.pem").write_bytes(Path(other.file).read_bytes())
    right.counted()
    right.require({"prod": PASSWORD_WRONG, "app-prod": CA_UNKNOWN})
    for name in files:
        (folder / name).write_bytes(good[name])
    right.require({})
    for name in ("client.pem", "client.key"):
        shutil.copy(tmp_path / "other" / name, folder)
    right.counted()
    right.require({"app-prod": CERTIFICATE_WRONG})


def test_a_wrong_port_and_a_wrong_path_are_said_of_their_clusters(backends: Backends) -> None:
    port, path = f"http://127.0.0.1:{_free_port()}", backends.entries["stage"].replace("}", "/nowhere}")
    with serving(backends.configured("wrong", dev=f"{{kind: prometheus, url: {port}}}", stage=path)) as served:
        served.require({"dev": PORT_WRONG, "stage": PATH_WRONG})
