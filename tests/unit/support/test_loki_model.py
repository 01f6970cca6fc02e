"""The model of Loki answers as the recorded servers did, to everything that was asked of them and that it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.loki_model import RECORDED, LokiModel, recorded_lines
from tests.support.prometheus_replies import Request
from tests.support.recorded_server import Exchange, read_exchanges

#: Recorded of other clocks (the last hour), of other servers' states, or about parsers, which the product has none of.
_NOT_MODELLED = (
    "query-range-no-time-window-given", "query-range-json-parser-*", "query-instant-*", "ready*",
    "query-range-parse-error-400", "query-range-regex-error-400", "query-range-no-query-400",
    "query-range-bad-start-400", "query-range-no-tenant-401",
)  # fmt: skip


def modelled() -> list[Exchange]:
    left_out = {exchange.name for exchange in read_exchanges(RECORDED, names=_NOT_MODELLED)}
    return [exchange for exchange in read_exchanges(RECORDED) if exchange.name not in left_out]


MODELS = {
    # max_query_length was 30d1h where the recordings were made.
    cluster: LokiModel.of(recorded_lines(cluster), max_span_s=721 * 3600)
    for cluster in ("prod", "app-prod", "shared-services")
}


@pytest.mark.parametrize("exchange", modelled(), ids=lambda exchange: exchange.name)
def test_it_answers_as_recorded(exchange: Exchange) -> None:
    request = Request(exchange.method, exchange.path, exchange.fields, exchange.headers, ("", 0))
    reply, recorded = MODELS[exchange.cluster].reply(request), exchange.reply
    assert reply.status == recorded.status
    if reply.status != 200:
        assert without_numbers(reply.body) == without_numbers(recorded.body)
    else:
        assert comparable(reply.body) == comparable(json.loads(recorded.body))


def without_numbers(words: bytes) -> str:
    # How long a time is said to be is printed by Loki's own rules.
    return words.decode().partition("(query length")[0]


def comparable(answer: Any) -> Any:
    data = answer.get("data")
    if isinstance(data, dict):
        # Streams come in an order of their own, their lines in that of the direction.
        return {**data, "stats": {}, "result": sorted(data["result"], key=lambda one: json.dumps(one, sort_keys=True))}
    if isinstance(data, list):
        return sorted(json.dumps(one, sort_keys=True) for one in data)
    return answer
