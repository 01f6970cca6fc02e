"""Arithmetic and comparison: between scalars, with a vector, and between vectors that are matched."""

from __future__ import annotations

import numpy as np
import pytest

from federation_core.errors import QueryExecutionError, QueryTooLarge
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.matching import first_meeting
from federation_core.tenancy import Limits
from tests.support.instants import at, vector
from tests.support.ranges import over
from tests.support.sample_store import answer_one, evaluate_one, every, series

NAN, INF = float("nan"), float("inf")


class TestScalars:
    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("1 + 2 * 3", 7.0),
            ("-7 % 3", -1.0),
            ("7 % -3", 1.0),
            ("5.5 % Inf", 5.5),
            ("Inf % 5", NAN),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("(-8) ^ (1 / 3)", NAN),
            ("NaN ^ 0", 1.0),
            ("1 ^ NaN", 1.0),
            ("(-1) ^ Inf", 1.0),
            ("0 ^ -1", INF),
            ("1 atan2 -1", 2.356194490192345),
            ("0 atan2 -1", 3.141592653589793),
            ("1 / 0", INF),
            ("-(1) / 0", -INF),
            ("1 / -(0)", -INF),
            ("0 / 0", NAN),
            ("5 % 0", NAN),
            ("1 == bool 1", 1.0),
            ("0 == bool -(0)", 1.0),
            ("NaN == bool NaN", 0.0),
            ("NaN != bool NaN", 1.0),
            ("NaN >= bool NaN", 0.0),
        ],
    )
    def test_answer(self, text: str, answer: float) -> None:
        frame = evaluate_one(text, [], TimeRange(0, 0))
        assert isinstance(frame, Frame)
        assert frame.kind == "scalar"
        assert frame.values[0, 0] == pytest.approx(answer, nan_ok=True)


class TestVectorsAndScalars:
    store = vector(('x{a="1"}', 1), ('x{a="2"}', 5), ('x{a="3"}', NAN))

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("x * 2", {"a=1": 2.0, "a=2": 10.0, "a=3": NAN}),
            ("10 - x", {"a=1": 9.0, "a=2": 5.0, "a=3": NAN}),
            ("-x", {"a=1": -1.0, "a=2": -5.0, "a=3": NAN}),
            ("x > 2", {"__name__=x,a=2": 5.0}),
            ("2 < x", {"__name__=x,a=2": 5.0}),
            ("6 > x", {"__name__=x,a=1": 1.0, "__name__=x,a=2": 5.0}),
            ("x != 1", {"__name__=x,a=2": 5.0, "__name__=x,a=3": NAN}),
            ("x > bool 2", {"a=1": 0.0, "a=2": 1.0, "a=3": 0.0}),
            ("2 < bool x", {"a=1": 0.0, "a=2": 1.0, "a=3": 0.0}),
            ("x == NaN", {}),
            ("x atan2 0", {"a=1": 1.5707963267948966, "a=2": 1.5707963267948966, "a=3": NAN}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == pytest.approx(answer, nan_ok=True)

    def test_series_that_are_one_without_their_name_are_an_error(self) -> None:
        for text in ('-{__name__=~"x|y"}', '{__name__=~"x|y"} > bool 0'):
            with pytest.raises(QueryExecutionError, match=r'same labelset: {a="1"}$'):
                at(text, vector(('x{a="1"}', 1), ('y{a="1"}', 2)))

    def test_series_that_never_meet_become_one_without_their_name(self) -> None:
        store = [series("x", [(0, 1)]), series("y", [(600_000, 2)])]
        assert over('-{__name__=~"x|y"}', store, 600_000, 600_000) == {"": {0: -1.0, 600_000: -2.0}}


class TestOneToOne:
    left = vector(('x{a="1",b="1"}', 1), ('x{a="2",b="1"}', 2), ('x{a="3",b="1"}', 3))
    right = vector(('y{a="1",b="1"}', 10), ('y{a="2",b="2"}', 20))

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("x + y", {"a=1,b=1": 11.0}),
            ("x + on (a) y", {"a=1": 11.0, "a=2": 22.0}),
            ("x + ignoring (b) y", {"a=1": 11.0, "a=2": 22.0}),
            ("x + ignoring (b, nosuch) y", {"a=1": 11.0, "a=2": 22.0}),
            ("x < y", {"__name__=x,a=1,b=1": 1.0}),
            ("x < ignoring (b) y", {"__name__=x,a=1": 1.0, "__name__=x,a=2": 2.0}),
            ("x < on (a) y", {"a=1": 1.0, "a=2": 2.0}),
            ("x > bool on (a) y", {"a=1": 0.0, "a=2": 0.0}),
            ("x < bool y", {"a=1,b=1": 1.0}),
            ("x < on (a, __name__) y", {}),
            ("x <= on (a, __name__) x", {"__name__=x,a=1": 1.0, "__name__=x,a=2": 2.0, "__name__=x,a=3": 3.0}),
            ("x + on (a, __name__) x", {"a=1": 2.0, "a=2": 4.0, "a=3": 6.0}),
            ("sum(x) + on () sum(y)", {"": 36.0}),
            ("x + on (a) nosuch", {}),
            ("nosuch + x", {}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, [*self.left, *self.right]) == answer

    def test_two_partners_on_the_right_are_an_error_that_names_them(self) -> None:
        with pytest.raises(QueryExecutionError) as caught:
            at("y + on (b) x", [*self.left, *self.right])
        assert caught.value.message == (
            'found duplicate series for the match group {b="1"} on the right hand-side of the operation: '
            '[{__name__="x", a="2", b="1"}, {__name__="x", a="1", b="1"}]'
            ";many-to-many matching not allowed: matching labels must be unique on one side"
        )

    def test_two_partners_are_an_error_also_in_a_group_that_nothing_asks_for(self) -> None:
        with pytest.raises(QueryExecutionError, match="many-to-many"):
            at('y{b="2"} + on (b) x', [*self.left, *self.right])

    def test_two_partners_are_no_error_at_steps_that_ask_for_none(self) -> None:
        assert at("nosuch + on (b) x", self.left) == {}
        late = [series('x{a="1"}', [(600_000, 1)]), series('y{p="1"}', [(0, 1)]), series('y{p="2"}', [(0, 1)])]
        assert over("x + on (nosuch) y", late, 600_000, 600_000) == {}

    def test_two_series_on_the_left_are_an_error(self) -> None:
        with pytest.raises(
            QueryExecutionError, match=r"many-to-one matching must be explicit \(group_left/group_right\)"
        ):
            at("x + on (b) max by (b) (y)", [*self.left, *self.right])

    def test_a_filter_that_drops_one_of_the_two_does_not_hide_the_error(self) -> None:
        with pytest.raises(QueryExecutionError, match="many-to-one matching must be explicit"):
            at("x > on (b) max by (b) (z)", [*self.left, *vector(('z{b="1"}', 2.5))])

    def test_a_pod_and_its_successor_share_a_partner_as_they_never_meet(self) -> None:
        store = [
            series('x{pod="old",n="1"}', [(0, 1)]),
            series('x{pod="new",n="1"}', [(600_000, 2)]),
            series('y{n="1"}', [(0, 10), (600_000, 20)]),
        ]
        for text in ("x + on (n) y", "y + on (n) x"):
            assert over(text, store, 600_000, 600_000) == {"n=1": {0: 11.0, 600_000: 22.0}}

    def test_nan_is_a_partner_too(self) -> None:
        assert at("x + y", vector(('x{a="1"}', 1), ('y{a="1"}', NAN))) == pytest.approx({"a=1": NAN}, nan_ok=True)


class TestGroupModifiers:
    cpu = vector(
        ('cpu{i="a",mode="idle"}', 3), ('cpu{i="a",mode="user"}', 1), ('cpu{i="b",mode="idle"}', 8), ('cpu{i="c"}', 5)
    )
    role = vector(('role{i="a",role="db",mode="old"}', 2), ('role{i="b"}', 4))

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("cpu * on (i) group_left role", {"i=a,mode=idle": 6.0, "i=a,mode=user": 2.0, "i=b,mode=idle": 32.0}),
            ("role * on (i) group_right cpu", {"i=a,mode=idle": 6.0, "i=a,mode=user": 2.0, "i=b,mode=idle": 32.0}),
            ("cpu - on (i) group_left role", {"i=a,mode=idle": 1.0, "i=a,mode=user": -1.0, "i=b,mode=idle": 4.0}),
            ("role - on (i) group_right cpu", {"i=a,mode=idle": -1.0, "i=a,mode=user": 1.0, "i=b,mode=idle": -4.0}),
            (
                "cpu * on (i) group_left (role) role",
                {"i=a,mode=idle,role=db": 6.0, "i=a,mode=user,role=db": 2.0, "i=b,mode=idle": 32.0},
            ),
            (
                "cpu * ignoring (mode, role) group_left (role) role",
                {"i=a,mode=idle,role=db": 6.0, "i=a,mode=user,role=db": 2.0, "i=b,mode=idle": 32.0},
            ),
            # A label that the "one" side lacks is taken away.
            ('cpu{mode="idle"} * on (i) group_left (mode) role', {"i=a,mode=old": 6.0, "i=b": 32.0}),
            ("cpu > on (i) group_left role", {"__name__=cpu,i=a,mode=idle": 3.0, "__name__=cpu,i=b,mode=idle": 8.0}),
            # A filter keeps the left value, and the labels of the "many" side.
            ("role < on (i) group_right cpu", {"__name__=cpu,i=a,mode=idle": 2.0, "__name__=cpu,i=b,mode=idle": 4.0}),
            ("cpu > bool on (i) group_left role", {"i=a,mode=idle": 1.0, "i=a,mode=user": 0.0, "i=b,mode=idle": 1.0}),
            (
                "cpu * on (i) group_left (__name__) role",
                {
                    "__name__=role,i=a,mode=idle": 6.0,
                    "__name__=role,i=a,mode=user": 2.0,
                    "__name__=role,i=b,mode=idle": 32.0,
                },
            ),
            # The name goes before a name is taken on.
            (
                'cpu{mode="idle"} >= bool on (i) group_left (__name__) role',
                {"__name__=role,i=a,mode=idle": 1.0, "__name__=role,i=b,mode=idle": 1.0},
            ),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, [*self.cpu, *self.role]) == answer

    def test_two_on_the_one_side_are_an_error_that_names_the_side(self) -> None:
        rows = [*self.cpu, *self.role]
        with pytest.raises(QueryExecutionError, match=r'match group {i="a"} on the right hand-side .*many-to-many'):
            at("role * on (i) group_left cpu", rows)
        with pytest.raises(QueryExecutionError, match=r'match group {i="a"} on the left hand-side .*many-to-many'):
            at("cpu * on (i) group_right role", rows)

    def test_results_that_cannot_be_told_apart_are_an_error(self) -> None:
        words = "multiple matches for labels: grouping labels must ensure unique matches"
        with pytest.raises(QueryExecutionError, match=words):
            at("cpu * on (i) group_left (mode) role", [*self.cpu, *self.role])

    def test_results_of_unlike_groups_that_are_one_without_their_name_are_an_error_too(self) -> None:
        rows = vector(('x{a="1"}', 1), ('y{a="1"}', 2))
        with pytest.raises(QueryExecutionError, match="vector cannot contain metrics with the same labelset"):
            at('{a="1"} * on (__name__) group_left {a="1"}', rows)

    def test_a_label_taken_on_changes_with_the_partner(self) -> None:
        store = [
            series('x{i="a",p="1"}', every(600_000, [1, 2])),
            series('x{i="a",p="2"}', every(600_000, [3, None])),
            series('y{i="a",v="old"}', [(0, 10)]),
            series('y{i="a",v="new"}', [(600_000, 20)]),
        ]
        assert over("x * on (i) group_left (v) y", store, 600_000, 600_000) == {
            "i=a,p=1,v=old": {0: 10.0},
            "i=a,p=1,v=new": {600_000: 40.0},
            "i=a,p=2,v=old": {0: 30.0},
        }
        assert over("x * on (i) group_left y", store, 600_000, 600_000) == {
            "i=a,p=1": {0: 10.0, 600_000: 40.0},
            "i=a,p=2": {0: 30.0},
        }

    @pytest.mark.parametrize("taken", ["", "(v)"])
    def test_series_of_one_group_that_never_meet_take_no_room(self, taken: str) -> None:
        # All of x ends where all of y begins, which is renamed once and has many series.
        asked = TimeRange(0, 3 * 600_000, 600_000)
        limits = Limits(max_values=4_000)
        store = [series(f'x{{p="{i}"}}', every(600_000, [1, 2])) for i in range(300)]
        store += [series(f'y{{v="{i}"}}', every(600_000, [None, None, 3, 4])) for i in range(300)]
        frame, _ = answer_one(f"x * on () group_left {taken} y", store, asked, limits=limits)
        assert frame.labels == ()
        # And here every series has one step, and one partner at it out of four.
        store = [series(f'x{{p="{i}"}}', [(600_000 * (i % 4), i)]) for i in range(300)]
        store += [series(f'y{{v="{i}"}}', [(600_000 * i, 10)]) for i in range(4)]
        frame, _ = answer_one(f"x * on () group_left {taken} y", store, asked, limits=limits)
        assert isinstance(frame, Frame)
        assert {(labels.get("p"), labels.get("v")) for labels in frame.labels} == {
            (str(i), str(i % 4) if taken else "") for i in range(300)
        }
        assert sorted(frame.values[frame.present].tolist()) == [10.0 * i for i in range(300)]

    def test_more_pairs_than_there_is_room_for_are_refused(self) -> None:
        # Each of 30 series has 30 partners, one after the other, that differ in what they offer.
        store = [series(f'x{{p="{i}"}}', every(600_000, [1] * 30)) for i in range(30)]
        store += [series(f'y{{v="{i}"}}', [(600_000 * i, 1)]) for i in range(30)]
        asked = TimeRange(0, 29 * 600_000, 600_000)
        with pytest.raises(QueryTooLarge):
            answer_one("x * on () group_left (v) y", store, asked, limits=Limits(max_values=20_000))
        frame, _ = answer_one("x * on () group_left y", store, asked, limits=Limits(max_values=20_000))
        assert isinstance(frame, Frame)
        assert frame.sample_count == 900


def test_groups_are_told_apart_by_any_numbers() -> None:
    # Pairs of numbers are numbered by their products, which are far more than there are series.
    present = np.array([[True, False], [True, True], [True, True]])
    assert first_meeting(present, np.array([10**15, 0, 10**15])) == (0, 2)
    assert first_meeting(present, np.array([10**15, 0, 1])) is None


class TestTypeAndUnit:
    store = vector(
        ('a{p="1",__type__="counter",__unit__="s"}', 1),
        ('b{p="1",__type__="counter",__unit__="s"}', 2),
        ('c{p="1",__type__="gauge"}', 3),
    )

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("a + b", {"p=1": 3.0}),
            ("a < bool b", {"p=1": 1.0}),
            ("a < b", {"__name__=a,__type__=counter,__unit__=s,p=1": 1.0}),
            ("a + ignoring (p) b", {"": 3.0}),
            ("a + on (p, __type__) b", {"p=1": 3.0}),
            ("a < on (p, __type__) b", {"__type__=counter,p=1": 1.0}),
            ("a * on (p) group_left c", {"p=1": 3.0}),
            ("a * on (p) group_left (__type__) c", {"__type__=gauge,p=1": 3.0}),
            ("a < bool on (p) group_left (__name__, __unit__) c", {"__name__=c,p=1": 1.0}),
            # They tell series apart as all labels do: only the name is matched by nobody.
            ("a + c", {}),
            ("a + ignoring (__type__, __unit__) c", {"p=1": 4.0}),
            ("sum without () (a)", {"__type__=counter,__unit__=s,p=1": 1.0}),
        ],
    )
    def test_they_go_with_the_name(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == answer


class TestFill:
    store = vector(
        ('l{a="1"}', 1),
        ('l{a="2"}', 2),
        ('r{a="2"}', 20),
        ('r{a="3"}', 30),
        ('m{a="2",p="x"}', 5),
        ('m{a="4",p="y"}', 7),
    )

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("l + fill (0) r", {"a=1": 1.0, "a=2": 22.0, "a=3": 30.0}),
            ("l - fill_left (5) r", {"a=2": -18.0, "a=3": -25.0}),
            ("l - fill_right (5) r", {"a=1": -4.0, "a=2": -18.0}),
            ("l + fill_left (5) fill_right (7) r", {"a=1": 8.0, "a=2": 22.0, "a=3": 35.0}),
            ("l + on (a) fill (0) r", {"a=1": 1.0, "a=2": 22.0, "a=3": 30.0}),
            ("l == fill (1) r", {"__name__=l,a=1": 1.0}),
            # What fills in has no name.
            ("l != fill (1) r", {"__name__=l,a=2": 2.0, "a=3": 1.0}),
            ("l > bool fill (1) r", {"a=1": 0.0, "a=2": 0.0, "a=3": 0.0}),
            ("l + fill (NaN) r", {"a=1": NAN, "a=2": 22.0, "a=3": NAN}),
            ("l + fill (3) nosuch", {"a=1": 4.0, "a=2": 5.0}),
            ("nosuch + fill (3) l", {"a=1": 4.0, "a=2": 5.0}),
            ("l + fill_left (3) nosuch", {}),
            ("nosuch + fill_right (3) l", {}),
            ("m * on (a) group_left fill_right (2) r", {"a=2,p=x": 100.0, "a=4,p=y": 14.0}),
            ("m * on (a) group_left fill_left (2) r", {"a=2,p=x": 100.0, "a=3": 60.0}),
            ("r - on (a) group_right fill_left (2) m", {"a=2,p=x": 15.0, "a=4,p=y": -5.0}),
            ("r - on (a) group_right fill_right (2) m", {"a=2,p=x": 15.0, "a=3": 28.0}),
            ("r - on (a) group_right fill (2) m", {"a=2,p=x": 15.0, "a=3": 28.0, "a=4,p=y": -5.0}),
            # What fills in offers the labels that were matched by, and no others.
            ("m * ignoring (q) group_left (p) fill (2) nosuch", {"a=2,p=x": 10.0, "a=4,p=y": 14.0}),
            ("l * ignoring (p) group_left (p) fill (3) m", {"a=1": 3.0, "a=2,p=x": 10.0, "a=4,p=y": 21.0}),
        ],
    )
    def test_answer(self, text: str, answer: dict[str, float]) -> None:
        assert at(text, self.store) == pytest.approx(answer, nan_ok=True)

    def test_it_fills_in_at_the_steps_where_a_partner_is_missing(self) -> None:
        store = [
            series('l{a="1"}', every(600_000, [1, None, 3, None])),
            series('r{a="1",p="old"}', every(600_000, [None, 20, 30, None])),
        ]
        assert over("l + on (a) fill (100) r", store, 1_800_000, 600_000) == {
            "a=1": {0: 101.0, 600_000: 120.0, 1_200_000: 33.0}
        }
        assert over("l + on (a) group_left (p) fill (100) r", store, 1_800_000, 600_000) == {
            "a=1": {0: 101.0},
            "a=1,p=old": {600_000: 120.0, 1_200_000: 33.0},
        }

    def test_nothing_has_no_partners_also_where_they_are_renamed(self) -> None:
        store = [series('r{p="old"}', [(0, 20)]), series('r{p="new"}', [(600_000, 30)])]
        assert over("nosuch * on () group_left (p) fill_right (1) r", store, 600_000, 600_000) == {}

    def test_two_partners_are_an_error_also_where_the_other_side_is_empty(self) -> None:
        for text in ("nosuch + on () fill (0) l", "l + on () fill (0) nosuch"):
            with pytest.raises(QueryExecutionError):
                at(text, self.store)


class TestDelayedNames:
    store = vector(('x_total{a="1"}', 1), ('y_total{a="1"}', 2))

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("x_total + y_total", [""]),
            ("x_total < y_total", ["x_total"]),
            ("x_total < bool y_total", [""]),
            ("-x_total < y_total", [""]),
            ("x_total < 5", ["x_total"]),
            ("x_total * 5", [""]),
            ("sum by (__name__) (x_total < bool y_total)", [""]),
        ],
    )
    def test_names(self, text: str, names: list[str]) -> None:
        frame, _ = answer_one(text, self.store, TimeRange(0, 0), delayed_names=True)
        assert isinstance(frame, Frame)
        assert [labels.get("__name__") for labels in frame.labels] == names

    def test_a_name_that_is_dropped_at_the_end_can_be_read_until_then(self) -> None:
        text = 'label_replace(x_total < bool y_total, "was", "$1", "__name__", "(.+)")'
        frame, _ = answer_one(text, self.store, TimeRange(0, 0), delayed_names=True)
        assert isinstance(frame, Frame)
        assert [dict(labels) for labels in frame.labels] == [{"a": "1", "was": "x_total"}]
