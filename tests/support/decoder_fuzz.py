"""Wrong answers to every kind of backend's every question: a payload comes out, or an error that is allowed.

    python -m tests.support.decoder_fuzz SEED ANSWERS

Everything but HTTP is real: questions are asked as a worker asks them, and what comes is encoded as it would be sent.
Prints how many answers were given per kind and signal, or those that did something else, and ends with 1.
"""

from __future__ import annotations

import faulthandler
import sys
import time
import traceback
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import urlencode

from federation_core.connectors import Connector
from federation_core.connectors.http import Answer, HttpClient
from federation_core.errors import ClusterError, Malformed, QueryExecutionError, QueryTooLarge, UnsupportedQuery
from federation_core.plan import Shard
from federation_core.query import Deadline
from federation_core.signals import kind_named
from tests.support.every_backend import NAME, Asked, all_questions
from tests.support.mutations import Recording, mutated, recordings, shape
from tests.support.peak_memory import peak_bytes

TRACE = "ab" * 16
#: No single question takes so long, nor so many requests.
_LONGEST_S, _MOST_REQUESTS = 10, 60
#: What may come of a wrong answer: it may be above a tenant's own limit, or have a native histogram in it, as well.
ALLOWED = (ClusterError, QueryExecutionError, QueryTooLarge, UnsupportedQuery)
#: What is recorded of no backend, or not of a small one.
HANDMADE = (
    Recording("/api/v1/metadata", 200, b'{"status":"success","data":{"up":[{"type":"gauge","help":"h","unit":""}]}}'),
    Recording("/api/v1/label/*/values", 200, b'{"status":"success","data":["api","web"],"warnings":["w"]}'),
    Recording(
        "/api/v1/query_exemplars",
        200,
        b'{"status":"success","data":[{"seriesLabels":{"__name__":"x","job":"a"},"exemplars":[{"labels":{"trace_id":"1"},'
        b'"value":"6","timestamp":1790006400.125}]}]}',
    ),
    Recording(
        "*",
        200,
        b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a","namespace":"n",'
        b'"resourceVersion":"7","labels":{"app":"web"},"ownerReferences":[{"kind":"ReplicaSet","name":"a",'
        b'"controller":true}]},"spec":{"replicas":2,"nodeName":"n1","template":{"spec":{"containers":[{"image":"w:1"}]}},'
        b'"ports":[{"port":80,"name":"http"}],"selector":{"app":"web"}},"status":{"phase":"Running","conditions":'
        b'[{"type":"Ready","status":"True"}],"containerStatuses":[{"restartCount":2,"state":{"waiting":{"reason":"x"}}}],'
        b'"nodeInfo":{"kubeletVersion":"v1.30.0"}},"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},'
        b'"targetRef":{"kind":"Pod","name":"a"}}]}]}',
    ),
    Recording(
        "*",
        200,
        b'{"_time":"2026-11-24T10:00:00.000000001Z","_msg":"an error","_stream":"{app=\\"web\\"}","level":"error"}\n'
        * 3,
    ),
)


class Fuzz:
    """One run: what is answered follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, Random(seed)
        self.given: Counter[str] = Counter()
        self.asked, self.last = "", Answer(200, {}, b"")
        self.requests = 0
        self.failures: dict[tuple[str, str], str] = {}
        self._shards: dict[Asked, Shard] = {}
        self._by_path: dict[str, list[Recording]] = {}
        for one in (*recordings(TRACE), *HANDMADE):
            self._by_path.setdefault(one.path, []).append(one)
        self._all = [one for found in self._by_path.values() for one in found]

    def answer(self, http: HttpClient, method: str, path: str, fields: Any, deadline: Deadline, **named: Any) -> Answer:
        """Stand for `HttpClient.ask`."""
        deadline.check_clock(http.cluster)
        urlencode(fields)
        self.requests += 1
        if self.requests > _MOST_REQUESTS:
            raise Malformed("enough", cluster=http.cluster)
        random = self.random
        fitting = self._by_path.get(shape(path)) or self._by_path["*"]
        recorded = random.choice(fitting if random.random() < 0.95 else self._all)
        body, status = recorded.body, recorded.status
        if random.random() < 0.7:
            body = mutated(body, random)
            self.given[self.asked] += 1
        if random.random() < 0.03:
            status = random.choice((200, 204, 400, 401, 404, 422, 429, 500, 99))
        self.last = Answer(status, {"content-type": "application/json"}, body)
        named.get("watch", bytes)(body)
        return self.last

    def ask(self, asked: Asked, connector: Connector) -> None:
        """Ask one question, and do with its answer what a worker does."""
        self.asked, self.requests = f"{asked.kind} {asked.signal}", 0
        now = time.time_ns() // 1_000_000
        deadline = Deadline(now + _LONGEST_S * 1000 // 2, lambda: time.time_ns() // 1_000_000)
        try:
            if asked.signal == "inventory":
                connector.inventory(deadline).to_wire()
                connector.about(deadline)
                return
            kind, shard = kind_named(asked.signal), replace(self._shard(asked), deadline_ms=deadline.at_ms)
            for fetched in kind.run(connector, shard, deadline).values():
                payload, _ = kind.redact(fetched.payload, shard.scope, NAME)
                kind.size(payload)
                kind.encode(payload)
        except ALLOWED as exc:
            if isinstance(exc, ClusterError) and exc.cluster != NAME:
                self.fail(f"an error of cluster {exc.cluster!r}: {exc!r}")
        except Exception:
            self.fail(traceback.format_exc(limit=-8))

    def _shard(self, asked: Asked) -> Shard:
        if asked not in self._shards:
            self._shards[asked] = asked.shard(time.time_ns() // 1_000_000, 60_000)
        return self._shards[asked]

    def fail(self, why: str) -> None:
        """Remember what must not have happened; the same in the same place once."""
        shown = f"{self.asked}\n{why}\nthe last answer: {self.last.status} {self.last.body[:3000]!r}"
        self.failures.setdefault((self.asked, why[-200:]), shown)


def main(seed: int, answers: int) -> None:
    """Give so many wrong answers, to each kind and signal as many."""
    fuzz = Fuzz(seed)
    HttpClient.ask = lambda http, *asked, **named: fuzz.answer(http, *asked, **named)  # type: ignore[method-assign]
    before, questions = peak_bytes(), all_questions()
    for key, asked in questions.items():
        turn = 0
        while fuzz.given[" ".join(key)] < answers // len(questions) + 1:
            if turn % 64 == 0:
                # What a connector has learned of its backend is wrong too: it is forgotten from time to time.
                connector = asked[0].connect("http://unused:1")
                faulthandler.dump_traceback_later(_LONGEST_S * 3, exit=True)
            fuzz.ask(asked[turn % len(asked)], connector)
            turn += 1
    faulthandler.cancel_dump_traceback_later()
    if fuzz.failures:
        print(f"seed {seed}, {len(fuzz.failures)} failures", *list(fuzz.failures.values())[:5], sep="\n\n")
        sys.exit(1)
    print(f"{sum(fuzz.given.values())} answers, {peak_bytes() - before} bytes more at the peak: {dict(fuzz.given)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
