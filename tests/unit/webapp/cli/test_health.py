"""What a container's health check says: 0 or 1, and why. Against a real Redis and real sockets."""

from __future__ import annotations

import http.server
import threading
import time

import pytest
from click.testing import CliRunner, Result

from federation_core.connectors.stores.jobs_beats import Heartbeats
from tests.support.redis_server import redis_server, redis_url
from webapp.cli import appsentry
from webapp.cli.stack.ports import listen

__all__ = ["redis_server", "redis_url"]


def health(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(appsentry, ["health", *arguments], env={"REDIS_URL": "", **environ})


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_api_is_well_when_it_takes_queries(status: int, code: int) -> None:
    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        result = health("--port", str(server.server_port))
        serving.join()
    assert result.exit_code == code
    assert ("is not ready (HTTP 503)" in result.output) is (code == 1)


def test_a_port_on_which_nobody_listens_is_said() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    result = health("--port", str(port))
    assert result.exit_code == 1
    assert f"port {port}: the API does not answer" in result.output


def test_a_cluster_is_well_while_its_worker_beats_and_the_missing_are_named(redis_url: str) -> None:
    beats = Heartbeats(redis_url)
    now_ms = time.time_ns() // 1_000_000
    beats.beat(["prod", "dev"], "here:1", now_ms)
    beats.beat(["dev"], "here:1", now_ms, alive_ms=0)
    assert health("--clusters", "prod", REDIS_URL=redis_url).exit_code == 0
    result = health("--clusters", "prod,dev,test", REDIS_URL=redis_url)
    assert result.exit_code == 1
    assert "no worker serves dev, test" in result.output


def test_a_redis_that_is_away_is_said_not_raised() -> None:
    result = health("--clusters", "prod", REDIS_URL="redis://127.0.0.1:1/0")
    assert result.exit_code == 1
    assert "Redis does not answer" in result.output


def test_without_a_redis_url_it_says_what_is_missing() -> None:
    result = health("--clusters", "prod")
    assert result.exit_code == 2
    assert "REDIS_URL is not set" in result.output
