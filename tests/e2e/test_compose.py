"""docker-compose.yml: right by its schema, careful with secrets and limits, and its services really work together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jwt
import pytest

from tests.conftest import require_program
from tests.support import compose
from tests.support.compose import Composed
from webapp.cli.demo.landscape import SITES

SECRETS = {
    "REDIS_PASSWORD": "0123456789abcdef0123456789abcdef",
    "JWT_KEY": "a key for tests only, long enough for HS256",
    "FLOWER_PASSWORD": "flowers",
}
CLUSTERS = sorted(site.name for site in SITES)
NOT_ASKED = {"merge", "beat"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose.read(SECRETS)["services"]
    return found


def test_it_is_valid_by_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose.FILE)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_every_role_and_a_worker_for_every_cluster_of_the_demo(services: dict[str, Any]) -> None:
    workers = {f"worker-{name}" for name in CLUSTERS}
    assert set(services) == {"redis", "feeder", "web", "merge", "beat", "flower"} | workers
    for name in CLUSTERS:
        assert services[f"worker-{name}"]["command"] == ["appsentry", "worker", "--clusters", name, "--events"]


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing: str) -> None:
    with pytest.raises(LookupError, match=missing):
        compose.read({**SECRETS, missing: ""})


def test_no_secret_is_on_a_command_line_or_in_a_health_check(services: dict[str, Any]) -> None:
    shown = json.dumps([[service["command"], service["healthcheck"]] for service in services.values()])
    assert [value for value in SECRETS.values() if value in shown] == []


def test_the_documented_secrets_and_token_are_those_that_are_needed() -> None:
    """The text's own lines, as a reader would paste them."""
    text = (compose.PROJECT / "docs" / "operations.md").read_text()
    [names] = re.findall(r"for name in ([A-Z_ ]+); do", text)
    assert set(names.split()) == set(SECRETS)
    [script] = re.findall(r"exec -T web python -c '(.*?)'\)$", text, flags=re.S | re.M)
    environ = {"JWT_KEY": SECRETS["JWT_KEY"]}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    claims = jwt.decode(done.stdout.strip(), SECRETS["JWT_KEY"], algorithms=["HS256"])
    assert claims["clusters"] == CLUSTERS


def test_every_service_is_restarted_bounded_and_without_privileges(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"memory", "cpus"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "redis" or service["read_only"], name


def test_every_service_has_a_health_check_or_says_that_it_has_none(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service["healthcheck"].get("disable")} == NOT_ASKED


def test_ports_are_open_on_loopback_alone(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert sorted(ports) == ["127.0.0.1:5555:5555", "127.0.0.1:8080:8080"]


def test_redis_fits_into_its_container_evicts_nothing_and_keeps_a_log(services: dict[str, Any]) -> None:
    told = services["redis"]["command"][2]
    megabytes = int(re.findall(r"^maxmemory (\d+)mb$", told, flags=re.M)[0])
    assert megabytes * 1.5 <= int(services["redis"]["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))
    assert "\nmaxmemory-policy noeviction\n" in told
    assert "\nappendonly yes\n" in told
    assert "\nappendfsync everysec\n" in told


def test_flower_asks_for_a_login_and_events_are_sent_for_it(services: dict[str, Any]) -> None:
    assert services["flower"]["environment"]["FLOWER_BASIC_AUTH"] == "admin:flowers"
    assert not any("FLOWER_UNAUTHENTICATED_API" in service["environment"] for service in services.values())
    assert "--events" in services["merge"]["command"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All services, started in the order that `depends_on` gives."""
    require_program("redis-server")
    with Composed(tmp_path_factory.mktemp("compose"), SECRETS) as running:
        for first in ("redis", "feeder"):
            running.start(first)
        for first in ("redis", "feeder"):
            running.until(lambda first=first: running.well(first))
        for name in running.services:
            if name not in running.processes:
                running.start(name)
        yield running


def get(url: str, authorization: str = "", body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Return status and body of a GET, or of a POST where there is a body to send; 0 where nobody answers."""
    headers = {"Authorization": authorization} if authorization else {}
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {**headers, "Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except HTTPError as exc:
        with exc:
            return exc.code, None
    except OSError:
        return 0, None


@pytest.mark.heavy
def test_every_service_is_well_by_its_own_health_check(composed: Composed) -> None:
    for name in set(composed.services) - NOT_ASKED:
        composed.until(lambda name=name: composed.well(name))


@pytest.mark.heavy
def test_flower_shows_all_seven_workers(composed: Composed) -> None:
    flower = f"http://127.0.0.1:{composed.ports['flower']}/api/workers"
    login = "Basic " + b64encode(b"admin:" + SECRETS["FLOWER_PASSWORD"].encode()).decode()
    queues: set[str] = set()

    def all_seven() -> bool:
        status, workers = get(f"{flower}?refresh=1", login)
        found = [worker.get("active_queues", []) for worker in (workers or {}).values()]
        queues.update(queue["name"] for worker in found for queue in worker)
        return status == 200 and len(found) == 7 and all(found)

    composed.until(all_seven)
    assert queues == {f"cluster.{name}" for name in CLUSTERS} | {"merge", "discovery", "reap"}
    composed.until(lambda: list((get(f"{flower}?status=1", login)[1] or {}).values()) == [True] * 7)


@pytest.mark.heavy
def test_flower_lets_nobody_in_without_the_login(composed: Composed) -> None:
    flower = f"http://127.0.0.1:{composed.ports['flower']}/api/workers"
    composed.until(lambda: get(flower)[0] == 401)


@pytest.mark.heavy
def test_a_query_through_the_api_rests_on_six_clusters(composed: Composed) -> None:
    for name in ("web", *(f"worker-{name}" for name in CLUSTERS)):
        composed.until(lambda name=name: composed.well(name))
    claims = {"sub": "tester", "clusters": CLUSTERS, "exp": int(time.time()) + 600}
    token = "Bearer " + jwt.encode(claims, SECRETS["JWT_KEY"])
    url = f"http://127.0.0.1:{composed.ports['web']}/api/v1/metrics/query"
    status, body = get(url, token, {"query": "sum(rate(http_requests_total[10m]))"})
    assert status == 200, composed.log("web")
    assert {row["cluster"]: row["verdict"] for row in body["coverage"]["clusters"]} == dict.fromkeys(CLUSTERS, "ok")


@pytest.mark.heavy
def test_the_stores_are_only_read_by_those_who_mount_them_so(composed: Composed) -> None:
    """A worker leaves no file behind in the volume that it has for reading."""
    owners = {path.name for path in Path(composed.folder / "demo").iterdir()}
    assert owners == {"clusters.yaml", "data", "history.done", "shop.origin"}
