"""The server that replays recordings answers what was recorded and nothing else."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorded_server import read_exchanges, replaying


def record(folder: Path, name: str, body: str, **request: Any) -> None:
    asked = {"method": "GET", "path": "/search", "query": [["q", "a b"], ["n", "2"]], "headers": {}, **request}
    response = {"status": 200, "headers": {"content-type": "text/plain"}, "body": body}
    (folder / f"{name}.json").write_text(json.dumps({"cluster": "prod", "request": asked, "response": response}))


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, named), timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_the_order_of_fields_does_not_matter(tmp_path: Path) -> None:
    record(tmp_path, "one", "found")
    with replaying(read_exchanges(tmp_path)) as server:
        assert ask(f"{server.url}/search?n=2&q=a+b") == ask(f"{server.url}/search?q=a%20b&n=2") == (200, "found")


def test_what_was_never_recorded_is_a_404_with_the_nearest_request(tmp_path: Path) -> None:
    record(tmp_path, "one", "found")
    record(tmp_path, "far", "found", path="/labels", query=[])
    with replaying(read_exchanges(tmp_path)) as server:
        status, said = ask(f"{server.url}/search?n=3&q=a+b")
        assert (status, "nearest: one: GET /search?n=2&q=a b" in said) == (404, True)
        assert [request.field("n") for request in server.asked_unknown] == ["3"]


def test_a_form_is_not_a_query(tmp_path: Path) -> None:
    record(tmp_path, "one", "found", method="POST", query=[], form=[["q", "ä"]], headers={"Content-Type": "x"})
    with replaying(read_exchanges(tmp_path)) as server:
        form = urllib.parse.urlencode({"q": "ä"})
        assert ask(f"{server.url}/search", form.encode()) == (200, "found")
        assert ask(f"{server.url}/search?{form}")[0] == 404


def test_tenants_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path, "a", "of a", headers={"X-Scope-OrgID": "a"})
    record(tmp_path, "b", "of b", headers={"X-Scope-OrgID": "b"})
    with replaying(read_exchanges(tmp_path)) as server:
        url = f"{server.url}/search?q=a+b&n=2"
        assert [ask(url, X_Scope_OrgID=tenant)[1] for tenant in "ab"] == ["of a", "of b"]
        assert ask(url)[0] == 404


def test_the_exchange_with_the_most_headers_of_the_request_is_replayed(tmp_path: Path) -> None:
    record(tmp_path, "flat", "flat")
    record(tmp_path, "flagged", "flagged", headers={"X-Flag": "on"})
    with replaying(read_exchanges(tmp_path)) as server:
        url = f"{server.url}/search?q=a+b&n=2"
        assert [ask(url)[1], ask(url, X_Flag="on")[1], ask(url, X_Flag="off")[1]] == ["flat", "flagged", "flat"]


def test_defaults_stand_for_what_is_left_out_on_either_side(tmp_path: Path) -> None:
    record(tmp_path, "one", "found")
    record(tmp_path, "short", "short", query=[["q", "c"]])
    with replaying(read_exchanges(tmp_path), defaults={"n": "2"}) as server:
        assert ask(f"{server.url}/search?q=a+b")[1] == "found"
        assert ask(f"{server.url}/search?q=c&n=2")[1] == "short"


def test_several_recordings_of_one_exchange_are_replayed_in_turn(tmp_path: Path) -> None:
    record(tmp_path, "stats-1", "early")
    record(tmp_path, "stats-2", "late")
    with replaying(read_exchanges(tmp_path)) as server:
        assert [ask(f"{server.url}/search?q=a+b&n=2")[1] for _ in range(3)] == ["early", "late", "late"]


@pytest.mark.parametrize(("cluster", "names", "found"), [("prod", ("o*",), 1), ("eu", ("*",), 0), ("", ("t*",), 0)])
def test_recordings_are_chosen_by_cluster_and_name(tmp_path: Path, cluster: str, names: tuple[str], found: int) -> None:
    record(tmp_path, "one", "found")
    assert len(read_exchanges(tmp_path, cluster=cluster, names=names)) == found
