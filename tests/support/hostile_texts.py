"""Strategies for hostile queries: texts made of fragments, runs and nesting, and trees with odd parts.

Rule: nothing here need be valid. Most fragments are the grammar's own, so that many texts get past the first word.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from federation_core.labels import Matcher, MatchOp, Selector
from federation_core.signals.metrics.expr import (
    COMPARISONS,
    PRECEDENCE,
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Grouping,
    Matching,
    MatrixSelector,
    NumberLiteral,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)

WORDS = (
    *("x", "up", "rate", "sum", "topk", "quantile", "count_values", "label_replace", "absent_over_time", "time"),
    *("by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "and", "or", "unless", "atan2"),
    *("start", "end", "Inf", "NaN", "inf", "nan", "info", "smoothed", "anchored", "fill", "fill_left", "step", "range"),
    *("histogram_quantile", "double_exponential_smoothing", "predict_linear", "limitk", "limit_ratio", "__name__"),
)
SIGNS = (
    *("(", ")", "[", "]", "{", "}", ",", ":", "@", "=", "!=", "=~", "!~", "==", "<", ">", "<=", ">=", "+", "-", "*"),
    *("/", "%", "^", "$", "|", "&", "~", "!", ";", ".", "..", '"', "'", "`", "\\", "#", "\n", "\t", " ", "  ", "\r"),
)
NUMBERS = (
    *(
        "0",
        "1",
        "-1",
        "1e309",
        "1e-400",
        "0x",
        "0x1F",
        "010",
        "09",
        "1_000",
        "1__0",
        ".",
        "5.",
        ".5",
        "1e",
        "1e+",
        "0b1",
        "1e+5",
        "1.5E-3",
        "1e30",
    ),
    *("9" * 30, "1" + "0" * 400, "0." + "0" * 400 + "1", "18446744073709551616", "-9223372036854775809", "1.5.5"),
)
DURATIONS = (
    *("5m", "1h30m", "30m1h", "0s", "1ms", "10y", "292y", "293y", "999999999999y", "1.5h", "-5m", "1d1d", "5", "5M"),
    *("9" * 25 + "s", "1µs", "1us", "1ns", "1w2d", "0x5m", "1e3s", "106751991167d"),
)
STRINGS = (
    *('"a"', "'a'", "`a`", '"\\x"', '"\\u12"', '"\\U00110000"', '"\\400"', '"\\""', "'\\''", '"\\xff"', '""', "`\\`"),
    *('"(a+)+$"', '"["', '"a{1000}"', '"(?P<n>a)"', '"(?i)x"', '"\\\\p{Greek}"', '"(?=a)"', '"' + "a" * 300 + '"'),
    *('"\\\\pL{100}"', '"(a{30}){30}"', '".*"', '".+"', '"[[]"'),
    *('"\x00"', '"é"', '"\u202e"', '"🤖"'),
)
CHARACTERS = ("\x00", "\x7f", "\u00a0", "\u2028", "\ufeff", "\u202e", "é", "ß", "İ", "🤖", "\ud800", "\udfff", "à́")
WHOLE = (
    *("up", "sum(up)", "rate(x[5m])", "x + y", "x[5m:1m]", "x @ 5 offset 1m", "topk(3, x)", '{a="b"}', "-x", "1 + 2"),
    *("sum by (a) (x)", "x * on (a) group_left (b) y", "x and y", 'label_replace(x, "a", "$1", "b", "(.*)")', "time()"),
)
#: What nests, and how it ends.
BRACKETS = (
    *(("(", ")"), ("-(", ")"), ("abs(", ")"), ("sum by (a) (", ")"), ("x + (", ")"), ("-", ""), ("{", "}"), ("[", "]")),
    *(("max_over_time((", ")[5m:])"), ("rate((", ")[5m:1m])"), ("x == bool (", ")"), ("", " + x"), ("", "[5m:1m]")),
)
OPERATORS = (
    *("+", "-", "* -", "^", "^ -", "==", "> bool", "and", "or on ()", "unless on (a)", "atan2", "% ignoring (a)"),
    *("/ on (a) group_left ()", "- on () group_right (b)", "or #\n", ",", "offset 1m +", "@ 1 *"),
)
FRAGMENTS = WORDS + SIGNS + NUMBERS + DURATIONS + STRINGS + CHARACTERS + WHOLE
#: What opens or continues something, for long runs of it.
REPEATED = (
    *("(", "((", "{", "[", ")", "-", "+", "- ", "!", "sum(", "-(", "x+", "x ^ ", "x and ", "(x)", "x,", '"', "`", "\\"),
    *("abs(", "x[1m:][1m:]", "rate(x[5m])+", 'a="b",', "# c\n", " ", "\n", "é", "1", "{a=", "by(", "x offset 1m "),
    *('a=~"\\\\pL{90}",', "[^\\\\pL]", ".{0,900}", "+ -", " offset 0s", "fill(0) ", "x offset 0s @ 1e+1 + "),
    *("sum by (a) (", "[5m:1m]", " == bool x", "9", "0x", "@", "@ 1 ", "vector(", "topk(1,", "'", "1e", "_", ":"),
)


#: Queries that ask for far more than there is, or for nothing that there could be.
GREEDY = (
    *("x[10y:1ms]", "max_over_time(x[10y:1ms])", "sum_over_time(sum_over_time(x[1d:1ms])[1d:1ms])", "x offset 292y"),
    *("rate(x[292y])", "x offset -292y", "sum(x offset -292y @ 9223372036854775)", "count_over_time(x[292y:292y] @ 0)"),
    *("max_over_time(vector(1)[290y:1s])", "last_over_time((x or y_total)[1y:1s] offset -290y)", "topk(1e300, x)"),
    *("topk(NaN, x)", "quantile(NaN, x)", "limitk(1e18, x)", "limit_ratio(NaN, x)", "predict_linear(x[1h], 1e308)"),
    *(
        "histogram_quantile(NaN, x)",
        "clamp(x, NaN, NaN)",
        "round(x, 0)",
        "x ^ x ^ x",
        "year(x * 1e300)",
        "hour(x * 1e18)",
    ),
    *("x * on () group_left () x", "x + on () x", "count_values('x', x * 1e308)", "absent_over_time(nosuch[10y:1ms])"),
    "label_join(x, 'a', '" + "s" * 9000 + "', 'a', 'a', 'a')",
    "label_replace(x, 'a', '" + "$1" * 4000 + "', 'a', '(.*)')",
    "label_replace(x, 'a', '$1', 'a', '" + "(.*)" * 500 + "')",
    'x{a=~"' + "(a|b)?" * 2000 + '"}',
    'x{a=~"' + "a{1000}" * 20 + '"}',
    "max_over_time(" * 20 + "x" + "[1h:1s])" * 20,
    " + ".join(["x"] * 200),
    " or ".join(["y_total"] * 200),
)


#: Texts that are drawn at once.
TOGETHER = 20


def texts() -> st.SearchStrategy[list[str]]:
    """Draw `TOGETHER` hostile texts.

    Most are put together from one number, as drawing every fragment by itself takes ten times as long as parsing.
    """
    raw = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
    return st.builds(_with_others, st.one_of(raw, st.text(max_size=30)), st.binary(min_size=16, max_size=16))


def _with_others(text: str, seed: bytes) -> list[str]:
    rng = random.Random(seed)
    return [text, *(_put_together(rng) for _ in range(TOGETHER - 1))]


def _put_together(rng: random.Random) -> str:
    kinds = (_joined, _joined, _glued, _broken, _broken, _chained, _chained, _run, _nested)
    return rng.choice(kinds)(rng)


def _joined(rng: random.Random) -> str:
    return " ".join(rng.choices(FRAGMENTS, k=rng.randrange(13)))


def _glued(rng: random.Random) -> str:
    return "".join(rng.choices(FRAGMENTS, k=rng.randrange(11)))


def _broken(rng: random.Random) -> str:
    text, at = rng.choice(WHOLE), rng.randrange(40)
    return text[:at] + rng.choice(FRAGMENTS) + text[at + rng.randrange(3) :]


def _chained(rng: random.Random) -> str:
    rest = "".join(f" {rng.choice(OPERATORS)} {rng.choice(WHOLE)}" for _ in range(rng.randrange(7)))
    return rng.choice(WHOLE) + rest


def _run(rng: random.Random) -> str:
    count = rng.choice((2, 15, 16, 17, 33, 64, 65, 99, 100, 101, 200, 201, 1000, 5000, 40_000))
    return rng.choice(FRAGMENTS) + rng.choice(REPEATED) * count + rng.choice(FRAGMENTS)


def _nested(rng: random.Random) -> str:
    opened, closed = rng.choice(BRACKETS)
    count = rng.choice((1, 5, 16, 30, 31, 32, 62, 63, 64, 65, 99, 100, 500, 5000, 15_000))
    return opened * count + rng.choice(WHOLE) + closed * (count + rng.choice((0, 0, 0, 0, 1, -1)))


_NAMES = st.sampled_from(
    ("x", "x", "x", "y_total", "y_total", "z_bucket", "on", "a:b", "é", "a b", "", "sum", "offset", "start", "le")
)
_LABEL_NAMES = st.sampled_from(("a", "le", "cluster", "__name__", "on", "é", "a.b", "1a", "bool", "a-b"))
_TEXTS = st.sampled_from(
    ("", "a", "1", "+Inf", "a\nb", '"', "\\", "`", "é🤖", "\x00", "$1", "${x}", "(.*)", "[", "a|b")
)
#: The longest duration there is, in ms: int64 of nanoseconds.
LONGEST_MS = (2**63 - 1) // 1_000_000
_USUAL_MS = (1, 137, 15_000, 60_000, 300_000, 3_600_000)
_DURATIONS_MS = st.sampled_from((*_USUAL_MS, *_USUAL_MS, 315_360_000_000, LONGEST_MS, LONGEST_MS + 1, 10**15))
_USUAL_OFFSETS_MS = (0, 0, 0, 1, -1, 60_000, -60_000)
_OFFSETS_MS = st.sampled_from(
    (*_USUAL_OFFSETS_MS, *_USUAL_OFFSETS_MS, 10**12, -(10**12), LONGEST_MS, -LONGEST_MS, 2**62)
)
_MOMENTS = st.sampled_from((*(None,) * 8, 0, -1, 137, 300_137, 10**12, -(10**12), 2**53, 2**62, "start", "end"))
_FLOATS = st.one_of(
    st.sampled_from((0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1.7e308, 2.0**63, 0.5)),
    st.floats(),
)
_PATTERNS = st.sampled_from(("", "1", "1|2", ".+", "(?i)X", "é.*", "[^a]", "a{3}", "(", "\\d+"))
_MATCHERS = st.one_of(
    st.builds(Matcher, _LABEL_NAMES, st.sampled_from((MatchOp.EQ, MatchOp.NE)), _TEXTS),
    st.builds(Matcher, _LABEL_NAMES, st.sampled_from((MatchOp.RE, MatchOp.NRE)), _PATTERNS),
)
_SELECTORS = st.builds(
    # One without any condition is printed as another, as PromQL has none.
    lambda name, rest: Selector((Matcher("__name__", MatchOp.EQ, name), *rest) if name or not rest else tuple(rest)),
    _NAMES,
    st.lists(_MATCHERS, max_size=2),
)
_LABELS = st.lists(_LABEL_NAMES, max_size=3, unique=True).map(tuple)
_GROUPINGS = st.builds(Grouping, _LABELS, st.booleans())
_AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
_WITH_PARAMETER = ("topk", "bottomk", "quantile", "limitk", "limit_ratio")
_OVER_WINDOWS = (
    *("rate", "increase", "delta", "irate", "idelta", "deriv", "resets", "changes", "sum_over_time", "avg_over_time"),
    *("min_over_time", "max_over_time", "last_over_time", "count_over_time", "stddev_over_time", "absent_over_time"),
)
_OF_VECTORS = (
    *("abs", "ceil", "exp", "ln", "sqrt", "sgn", "timestamp", "sort", "hour", "year", "days_in_month", "absent"),
    *("round", "sin", "acosh", "deg"),
)
_FILLED = st.sampled_from((None, None, None, None, 0.0, float("nan"), float("-inf")))


def _matching(labels: Any, on: bool, card: Any, include: Any, left: Any, right: Any) -> Matching:
    # A label may not be matched by and included at once.
    included = tuple(name for name in include if name not in labels) if card != "one-to-one" else ()
    return Matching(labels, on, card, included, left, right)


_MATCHINGS = st.one_of(
    st.just(Matching()),
    st.builds(
        _matching,
        _LABELS,
        st.booleans(),
        st.sampled_from(("one-to-one", "many-to-one", "one-to-many")),
        _LABELS,
        _FILLED,
        _FILLED,
    ),
)


def _binary(operator: str, left: Any, right: Any, matching: Matching, asks_bool: bool) -> Binary:
    if operator in SET_OPERATORS:
        matching = Matching(matching.labels, matching.on)
    return Binary(operator, left, right, matching, asks_bool and operator in COMPARISONS)


def _between_scalars(operator: str, left: Any, right: Any) -> Binary:
    return Binary(operator, left, right, returns_bool=operator in COMPARISONS)


_SCALAR_OPERATORS = sorted(set(PRECEDENCE) - SET_OPERATORS)


def trees() -> st.SearchStrategy[Any]:
    """Draw a tree whose types are right and whose parts are odd."""
    numbers = st.builds(NumberLiteral, _FLOATS)
    scalars = st.one_of(numbers, numbers, st.builds(Call, st.sampled_from(("time", "pi")), st.just(())))
    scalars = st.one_of(
        scalars,
        st.builds(_between_scalars, st.sampled_from(_SCALAR_OPERATORS), scalars, scalars),
    )
    vectors: st.SearchStrategy[Any] = st.builds(VectorSelector, _SELECTORS, _OFFSETS_MS, _MOMENTS)
    matrices: st.SearchStrategy[Any] = st.builds(MatrixSelector, _SELECTORS, _DURATIONS_MS, _OFFSETS_MS, _MOMENTS)
    for _ in range(3):
        subqueries = st.builds(
            Subquery, vectors, _DURATIONS_MS, st.one_of(st.none(), _DURATIONS_MS), _OFFSETS_MS, _MOMENTS
        )
        vectors = st.one_of(vectors, *_over(vectors, scalars, st.one_of(matrices, subqueries)))
    return st.one_of(vectors, vectors, vectors, scalars, matrices)


def _over(vectors: Any, scalars: Any, matrices: Any) -> list[st.SearchStrategy[Any]]:
    strings = st.builds(StringLiteral, _TEXTS)
    names = st.builds(StringLiteral, _LABEL_NAMES)
    return [
        st.builds(Unary, vectors),
        st.builds(lambda f, m: Call(f, (m,)), st.sampled_from(_OVER_WINDOWS), matrices),
        st.builds(lambda q, m: Call("quantile_over_time", (q, m)), scalars, matrices),
        st.builds(lambda m, s: Call("predict_linear", (m, s)), matrices, scalars),
        st.builds(lambda m, s, t: Call("double_exponential_smoothing", (m, s, t)), matrices, scalars, scalars),
        st.builds(lambda f, v: Call(f, (v,)), st.sampled_from(_OF_VECTORS), vectors),
        st.builds(lambda v, s: Call("round", (v, s)), vectors, scalars),
        st.builds(lambda v, s, t: Call("clamp", (v, s, t)), vectors, scalars, scalars),
        st.builds(lambda s, v: Call("histogram_quantile", (s, v)), scalars, vectors),
        st.builds(lambda v, *rest: Call("label_replace", (v, *rest)), vectors, names, strings, names, strings),
        st.builds(lambda v, *rest: Call("label_join", (v, *rest)), vectors, names, strings, names),
        st.builds(lambda s: Call("vector", (s,)), scalars),
        st.builds(Aggregate, st.sampled_from(_AGGREGATIONS), vectors, _GROUPINGS),
        st.builds(Aggregate, st.sampled_from(_WITH_PARAMETER), vectors, _GROUPINGS, scalars),
        st.builds(Aggregate, st.just("count_values"), vectors, _GROUPINGS, names),
        st.builds(_binary, st.sampled_from(sorted(PRECEDENCE)), vectors, vectors, _MATCHINGS, st.booleans()),
        st.builds(
            lambda operator, v, s, b: Binary(operator, v, s, returns_bool=b and operator in COMPARISONS),
            st.sampled_from(_SCALAR_OPERATORS),
            vectors,
            scalars,
            st.booleans(),
        ),
    ]
