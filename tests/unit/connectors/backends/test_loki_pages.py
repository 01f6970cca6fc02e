"""However small the pages and windows are, the first entries are those of the store, or it is said that they are not.

Asked of the model of Loki in tests/support/loki_model.py, which the recordings hold to what Loki does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends import loki_reading
from federation_core.connectors.backends.loki_pages import Bounds, KnownBounds
from federation_core.errors import Malformed, Rejected, TooLarge
from federation_core.labels import Labels
from federation_core.query import Deadline, Direction, TimeRange
from federation_core.signals.logs.language import matches, parse
from federation_core.signals.logs.payload import Entries, Entry, first_entries
from federation_core.tenancy import Limits
from tests.support.loki_connected import Unwired, entries_of, fetch, loki_over
from tests.support.loki_model import END_MS, START_MS, LokiModel
from tests.support.prometheus_replies import Reply, Request

START_NS = START_MS * 1_000_000


def line(t: int, text: str = "line", stream: str = "a", **metadata: str) -> Entry:
    return Entry(START_NS + t, text, Labels.of({"service_name": stream}), Labels.of(metadata))


def with_ordinals(lines: Iterable[Entry]) -> list[Entry]:
    """Return the entries that lines of an answer are: those that share all but the text are counted."""
    seen: Counter[tuple[Labels, int, Labels]] = Counter()
    entries = []
    for one in lines:
        key = (one.labels, one.t_ns, one.metadata)
        entries.append(Entry(one.t_ns, one.line, one.labels, one.metadata, seen[key]))
        seen[key] += 1
    return entries


def unfiltered(model: LokiModel) -> Unwired:
    """A server that lets every line through."""

    def reply(request: Request) -> Reply:
        return model.reply(replace(request, fields=tuple((n, v.partition(" |=")[0]) for n, v in request.fields)))

    return Unwired(reply)


_LINE = st.builds(
    line,
    st.integers(0, 6),
    st.sampled_from(["x", "y", "z", "xy"]),
    st.sampled_from("abc"),
    id=st.sampled_from(["", "1", "2"]),
)


class TestTheFirstEntries:
    @settings(max_examples=150)
    @given(
        lines=st.lists(_LINE, max_size=20),
        text=st.sampled_from(
            ["{}", '{service_name=~"a|b"}', '{} |= "x"', '{} | id="1"', '{service_name!="a"} !~ "x$"']
        ),
        limit=st.integers(1, 12),
        direction=st.sampled_from(["forward", "backward"]),
        max_lines=st.integers(1, 9) | st.just(5_000),
        knows_flag=st.booleans(),
    )
    def test_are_those_of_the_store_or_the_answer_is_truncated(
        self, lines: list[Entry], text: str, limit: int, direction: Direction, max_lines: int, knows_flag: bool
    ) -> None:
        model = LokiModel.of(lines, max_lines=max_lines, knows_flag=knows_flag)
        fetched = fetch(loki_over(Unwired(model.reply)), text, limit=limit, direction=direction)
        found, query = entries_of(fetched), parse(text)
        held = with_ordinals(one for one in model.lines if matches(query, one))
        if not fetched.truncated:
            assert found == first_entries(Entries.of(held), limit, direction)
            return
        # It ends at a nanosecond that holds as much as the largest page, and before that all is there.
        assert found.more
        full = {t for t, count in Counter(entry.t_ns for entry in held).items() if count >= max_lines}
        whole = first_entries(Entries.of(held), 0, direction).entries
        stop = next(entry.t_ns for entry in whole if entry.t_ns in full)
        before = [entry for entry in whole if (entry.t_ns > stop if direction == "backward" else entry.t_ns < stop)]
        assert list(found.entries[: len(before)]) == before
        assert {entry.t_ns for entry in found.entries[len(before) :]} <= {stop}
        assert len(before) < limit

    @settings(max_examples=60)
    @given(
        times=st.lists(st.integers(0, 1799), max_size=20),
        limit=st.integers(1, 8),
        direction=st.sampled_from(["forward", "backward"]),
        span_s=st.integers(60, 2000),
    )
    def test_are_the_same_where_only_shorter_times_may_be_asked(
        self, times: list[int], limit: int, direction: Direction, span_s: int
    ) -> None:
        model = LokiModel.of([line(t * 10**9, str(n)) for n, t in enumerate(times)], max_span_s=span_s)
        for text in ("{}", '{service_name="a"}'):
            found = entries_of(fetch(loki_over(Unwired(model.reply)), text, limit=limit, direction=direction))
            assert found == first_entries(Entries.of(with_ordinals(model.lines)), limit, direction)

    def test_a_page_is_as_long_as_the_limit_and_one_more(self) -> None:
        model = LokiModel.of([line(t, str(t)) for t in range(300)])
        unwired = Unwired(model.reply)
        found = entries_of(fetch(loki_over(unwired), '{service_name="a"}', limit=100))
        assert ([r.field("limit") for r in unwired.asked], len(found.entries), found.more) == (["101"], 100, True)

    def test_more_than_one_page_holds_is_read_in_pages_without_loss_or_repetition(self) -> None:
        model = LokiModel.of([line(t // 3, str(t)) for t in range(12_000)])
        unwired = Unwired(model.reply)
        limits = Limits(max_entries=10_000)
        found = entries_of(
            fetch(loki_over(unwired), '{service_name="a"}', limit=9_999, direction="forward", limits=limits)
        )
        assert [int(entry.line) for entry in found.entries] == list(range(9_999))
        assert [r.field("limit") for r in unwired.asked][:2] == ["5000", "5000"]
        assert len(unwired.asked) == 3

    def test_what_shares_the_nanosecond_at_the_edge_is_asked_again(self) -> None:
        model = LokiModel.of([line(5, str(n), stream) for stream in "cab" for n in range(20)] + [line(1)])
        found = entries_of(fetch(loki_over(Unwired(model.reply)), "{}", limit=7))
        assert [(entry.labels.get("service_name"), entry.line) for entry in found.entries] == [
            ("c", str(n)) for n in range(19, 12, -1)
        ]

    def test_lines_that_a_server_takes_and_we_do_not_cost_pages_and_nothing_else(self) -> None:
        unwired = unfiltered(LokiModel.of([line(t, "yes" if t % 50 == 0 else "no") for t in range(2_000)]))
        found = entries_of(fetch(loki_over(unwired), '{service_name="a"} |= "yes"', limit=30))
        assert [entry.t_ns - START_NS for entry in found.entries] == list(range(1950, 450, -50))
        assert len(unwired.asked) < 8

    def test_a_line_that_is_not_taken_is_no_sign_of_more(self) -> None:
        for texts, more in ((["yes", "no", "yes", "yes"], True), (["no", "no", "yes", "yes"], False)):
            lines = [line(t, text) for t, text in enumerate(texts)]
            found = entries_of(
                fetch(loki_over(unfiltered(LokiModel.of(lines))), '{service_name="a"} |= "yes"', limit=2)
            )
            assert (len(found.entries), found.more) == (2, more)

    def test_more_than_the_tenant_may_have_are_not_read(self) -> None:
        model = LokiModel.of([line(t) for t in range(20)])
        for limit in (0, 15):
            unwired = Unwired(model.reply)
            found = entries_of(
                fetch(loki_over(unwired), '{service_name="a"}', limit=limit, limits=Limits(max_entries=7))
            )
            assert (len(found.entries), found.more, unwired.asked[0].field("limit")) == (7, True, "8")

    def test_a_time_without_extent_is_not_asked_for(self) -> None:
        unwired = Unwired(LokiModel.of([line(0)]).reply)
        assert entries_of(fetch(loki_over(unwired), "{}", when=TimeRange(START_MS, START_MS))).entries == ()
        assert entries_of(fetch(loki_over(unwired), "{}", when=TimeRange(-9, 0))).entries == ()
        assert unwired.asked == []

    def test_the_empty_text_is_in_every_line(self) -> None:
        unwired = Unwired(LokiModel.of([line(0)]).reply)
        opened = loki_over(unwired)
        assert len(entries_of(fetch(opened, '{service_name="a"} |= ""')).entries) == 1
        assert unwired.asked[0].field("query") == '{service_name="a"}'
        assert entries_of(fetch(opened, '{service_name="a"} != ""')).entries == ()
        assert len(unwired.asked) == 1


class TestLimitsOfTheServer:
    def test_a_lower_maximum_of_lines_is_learned_once(self) -> None:
        model = LokiModel.of([line(t) for t in range(20)], max_lines=6)
        unwired = Unwired(model.reply)
        opened = loki_over(unwired)
        for _ in range(2):
            assert len(entries_of(fetch(opened, '{service_name="a"}', limit=10)).entries) == 10
        assert [request.field("limit") for request in unwired.asked] == ["11", "6", "6", "6", "6"]

    def test_more_lines_at_one_nanosecond_than_the_maximum_are_never_complete(self) -> None:
        lines = [line(9, "last"), *(line(5, str(n)) for n in range(5_000)), line(1, "first")]
        fetched = fetch(loki_over(Unwired(LokiModel.of(lines).reply)), '{service_name="a"}', limit=5_000)
        found = entries_of(fetched)
        assert "5000 lines or more at one nanosecond (2026-11-23T21:40:00.000Z)" in fetched.truncated
        assert (found.more, found.entries[0].line, {entry.t_ns - START_NS for entry in found.entries}) == (
            True,
            "last",
            {9, 5},
        )

    def test_what_the_limit_ends_before_it_is_complete(self) -> None:
        lines = [line(9, "last"), line(8, "next"), *(line(5, str(n)) for n in range(5_000))]
        fetched = fetch(loki_over(Unwired(LokiModel.of(lines).reply)), '{service_name="a"}', limit=2)
        assert (fetched.truncated, [entry.line for entry in entries_of(fetched).entries]) == ("", ["last", "next"])

    def test_reading_does_not_go_on_beyond_them(self) -> None:
        lines = [line(0, "early"), *(line(1_700 * 10**9, str(n)) for n in range(5))]
        model = LokiModel.of(lines, max_lines=3, max_span_s=600)
        fetched = fetch(loki_over(Unwired(model.reply)), '{service_name="a"}', limit=10)
        assert "3 lines or more at one nanosecond" in fetched.truncated
        assert "early" not in [entry.line for entry in entries_of(fetched).entries]

    def test_one_part_of_the_streams_that_stops_ends_the_answer_there(self) -> None:
        crowd = [replace(line(5, str(n)), labels=Labels.of({"job": "x"})) for n in range(9)]
        lines = [line(9, "last"), line(1, "early"), *crowd]
        model = LokiModel.of(lines, max_lines=4)
        fetched = fetch(loki_over(Unwired(model.reply)), "{}", limit=8)
        assert {entry.t_ns - START_NS for entry in entries_of(fetched).entries} == {9, 5}
        assert "4 lines or more at one nanosecond" in fetched.truncated
        whole = fetch(loki_over(Unwired(model.reply)), "{}", limit=1)
        assert (whole.truncated, entries_of(whole).more) == ("", True)

    @pytest.mark.parametrize(
        ("words", "learned"),
        [
            ("max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 800)", Bounds(800)),
            ("max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 5000)", None),
            ("max entries limit per query exceeded, limit > max_entries_limit_per_query (5001 > 0)", None),
            (
                "the query time range exceeds the limit (query length: 960h30m0s, limit: 30d1h)",
                Bounds(span_ns=721 * 3600 * 10**9),
            ),
            ("the query time range exceeds the limit (query length: 960h30m0s, limit: 0s)", None),
            ("the query time range exceeds the limit (query length: 960h30m0s, limit: soon)", None),
            ("the query would read too many bytes (query: 2 GB, limit: 1 GB)", None),
        ],
    )
    def test_are_read_from_its_words(self, words: str, learned: Bounds | None) -> None:
        known = KnownBounds()
        for _ in range(2):
            known.learn(words)
            assert known.in_force == (learned or Bounds())

    def test_queries_that_are_refused_at_once_all_ask_again(self) -> None:
        both, model = Barrier(2), LokiModel.of([line(t) for t in range(20)], max_lines=6)

        def reply(request: Request) -> Reply:
            replied = model.reply(request)
            if replied.status == 400:
                both.wait(10)
            return replied

        opened = loki_over(Unwired(reply))
        with ThreadPoolExecutor(2) as threads:
            asked = [threads.submit(fetch, opened, '{service_name="a"}', limit=10) for _ in range(2)]
            assert [len(entries_of(one.result()).entries) for one in asked] == [10, 10]

    @pytest.mark.parametrize("direction", ["forward", "backward"])
    @pytest.mark.parametrize(
        "words",
        [
            "the query would read too many bytes (query: 1.2 TB, limit: 100 GB); consider adding more specific stream",
            "query too large to execute on a single querier: (query: 90 GB, limit: 10 GB)",
        ],
    )
    def test_what_takes_too_many_bytes_is_asked_of_shorter_times(self, words: str, direction: Direction) -> None:
        model = LokiModel.of([line(t * 10**9, str(t)) for t in range(0, 1800, 100)])

        def reply(request: Request) -> Reply:
            spans_ns = int(request.field("end")) - int(request.field("start"))
            return Reply(words.encode(), 400) if spans_ns > 500 * 10**9 else model.reply(request)

        unwired = Unwired(reply)
        opened = loki_over(unwired)
        fetched = fetch(opened, '{service_name="a"}', limit=7, direction=direction)
        held = Entries.of(with_ordinals(model.lines))
        assert (fetched.truncated, entries_of(fetched)) == ("", first_entries(held, 7, direction))
        # Two refusals, and as much as the limit takes; another query may read less, and is asked as a whole.
        assert len(unwired.asked) == 4
        fetch(opened, '{service_name="a"} |= "x"', limit=7, direction=direction)
        assert unwired.asked[4].field("start") == unwired.asked[0].field("start")

    def test_what_takes_too_many_bytes_in_the_shortest_time_is_the_clusters_error(self) -> None:
        unwired = Unwired(lambda _: Reply(b"the query would read too many bytes (query: 2 GB, limit: 1 GB)", 400))
        with pytest.raises(Rejected, match="too many bytes"):
            fetch(loki_over(unwired), '{service_name="a"}')
        assert len(unwired.asked) == 5

    @pytest.mark.parametrize(("direction", "found"), [("forward", ["0"]), ("backward", ["1799"])])
    def test_more_windows_than_are_asked_are_said(
        self, direction: Direction, found: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loki_reading, "MOST_WINDOWS", 3)
        model = LokiModel.of([line(t * 10**9, str(t)) for t in (0, 900, 1799)], max_span_s=60)
        unwired = Unwired(model.reply)
        fetched = fetch(loki_over(unwired), '{service_name="a"}', limit=9, direction=direction)
        assert "1620 s were not looked at: Loki takes only short times, and 3 were asked" in fetched.truncated
        assert [entry.line for entry in entries_of(fetched)] == found
        assert (entries_of(fetched).more, len(unwired.asked)) == (True, 4)

    def test_names_of_labels_that_are_null_are_none(self) -> None:
        unwired = Unwired(lambda _: Reply({"status": "success", "data": None}))
        assert loki_over(unwired).inventory(Deadline(2**62)).label_names == ()
        assert entries_of(fetch(loki_over(unwired), "{}")).entries == ()

    def test_one_that_says_nothing_new_is_the_clusters_error(self) -> None:
        refusal = b"the query time range exceeds the limit (query length: 0h30m0s, limit: 30d1h)"
        unwired = Unwired(lambda _: Reply(refusal, 400))
        with pytest.raises(Rejected, match="exceeds the limit"):
            fetch(loki_over(unwired), '{service_name="a"}')
        assert len(unwired.asked) == 2

    def test_the_bytes_of_all_pages_together_have_a_cap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loki_reading, "PAGES_BYTES", 3_000)
        model = LokiModel.of([line(t, "x" * 100) for t in range(200)], max_lines=10)
        with pytest.raises(TooLarge, match="ask for fewer") as caught:
            fetch(loki_over(Unwired(model.reply)), '{service_name="a"}', limit=100)
        assert (caught.value.cluster, caught.value.allowed) == ("prod", 3_000)


class TestAServerThatDoesNotKeepToTheQuestion:
    def replied(self, *times: int) -> Unwired:
        values = [[str(t_ns), "x", {}] for t_ns in times]
        data = {
            "resultType": "streams",
            "encodingFlags": ["categorize-labels"],
            "result": [{"stream": {}, "values": values}],
        }
        return Unwired(lambda _: Reply({"status": "success", "data": data}))

    def test_lines_of_another_time_are_not_part_of_the_answer(self) -> None:
        end_ns = END_MS * 1_000_000
        found = entries_of(fetch(loki_over(self.replied(end_ns, end_ns - 1, START_NS, START_NS - 1)), '{a="b"}'))
        assert [entry.t_ns for entry in found.entries] == [end_ns - 1, START_NS]

    def test_a_full_page_of_them_leads_nowhere(self) -> None:
        with pytest.raises(Malformed, match="lines of another time"):
            fetch(loki_over(self.replied(1, 2, 3)), '{a="b"}', limit=2)

    def test_the_same_page_for_ever_leads_nowhere_either(self) -> None:
        with pytest.raises(Malformed, match="lines of another time"):
            fetch(loki_over(self.replied(*range(START_NS + 5_000, START_NS, -1))), '{a="b"} |= "never"', limit=2)

    def test_more_lines_than_were_asked_for_are_a_full_page(self) -> None:
        unwired = self.replied(*(START_NS + t for t in range(50)))
        found = entries_of(fetch(loki_over(unwired), '{a="b"}', limit=10, direction="forward"))
        assert ([entry.t_ns - START_NS for entry in found.entries], found.more) == (list(range(10)), True)
