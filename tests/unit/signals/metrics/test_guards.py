"""What a text of the largest size can cost at most: the patterns in it, and its literals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from federation_core.errors import QuerySyntaxError, QueryTooLarge
from federation_core.labels import compile_regex
from federation_core.signals.metrics.guards import QUERY
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.patterns import MOST_PATTERNS


def repeated(unit: str, before: str = "", after: str = "") -> str:
    return before + unit * ((QUERY.text_bytes - len(before) - len(after)) // len(unit.encode())) + after


def conditions(pattern: str, count: int) -> str:
    return "x{" + ",".join(f'a=~"{pattern}{n}"' for n in range(count)) + "}"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (conditions("a", 101), "query different regular expressions"),
        (conditions(r"\\pL{40}", 99), "query instructions in its regular expressions"),
    ],
)
def test_the_patterns_of_a_query_are_bounded_together(text: str, limit: str) -> None:
    with pytest.raises(QueryTooLarge) as caught:
        parse(text)
    assert caught.value.limit == limit
    assert caught.value.asked > caught.value.allowed


def test_one_pattern_may_be_used_in_as_many_selectors_as_there_is_room_for() -> None:
    text = repeated(r',a=~"\\pL{50}"', 'x{b="c"', "}")
    assert repr(parse(text)).count("pL{50}") > 2000


def test_plain_patterns_that_fill_a_query_are_no_trouble() -> None:
    alternatives = "|".join(f"pod-{n:05d}" for n in range(3000))
    assert parse(f'x{{a=~"{alternatives}"}}') is not None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\pL{200}", "takes more than 2 MB"),
        (".{0,1000}" * 3000, "counts to 3000000 in all its repetitions, above 10000"),
        (r"[^\pL]" * 4500, "has 4500 classes of Unicode, above 500"),
        ("(" * 20_000, "missing )"),
    ],
)
def test_a_pattern_that_is_too_large_is_refused_in_words(pattern: str, why: str) -> None:
    doubled = pattern.replace("\\", "\\\\")
    with pytest.raises(QuerySyntaxError, match="bad regular expression") as caught:
        parse(f'x{{a=~"{doubled}"}}')
    assert why in caught.value.message
    assert len(caught.value.message) < 300


def test_patterns_of_one_query_stay_compiled_together() -> None:
    kept = compile_regex.cache_parameters()["maxsize"]
    assert kept is not None
    assert kept > MOST_PATTERNS


#: Texts of the largest size, each made to be costly in another way.
COSTLY = {
    "large patterns": conditions(r"\\pL{100}", 1200),
    "one large pattern often": repeated(r',a=~"\\pL{100}"', 'x{b="c"', "}"),
    "repetitions": repeated(".{0,1000}", 'x{a=~"', '"}'),
    "classes": repeated(r"[\\pL\\pN]", 'x{a=~"', '"}'),
    "groups": 'x{a=~"' + "(" * 16_000 + "a" + ")" * 16_000 + '"}',
    "stars": repeated("(a*)*", 'x{a=~"', '"}'),
    "small patterns": "x{" + ",".join(f'a=~"{n}"' for n in range(3300)) + "}",
    "equalities": repeated(',a="b"', 'x{b="c"', "}"),
    "a long name": repeated("x"),
    "digits": repeated("9"),
    "digits of none": repeated("9", "", "z"),
    "octal digits": repeated("7", "0"),
    "underscores of none": repeated("1_"),
    "decimals of none": repeated("1", "1.", "z"),
    "an exponent": repeated("9", "1e"),
    "a duration": repeated("1s"),
    "a long duration": repeated("9", "x[", "s]"),
    "a moment": repeated("9", "x @ "),
    "numbers": repeated("1 "),
    "arguments": repeated("1,", "max_of(", "1)"),
    "comments": repeated("#\n", "", "x"),
    "blanks": repeated(" ", "", "(x"),
    "lines": repeated("\n", "", "(x"),
    "braces in a string": repeated("{", 'x{a="', '"}'),
    "escapes": repeated(r"\xc3\xa9", 'x{a="', '"}'),
    "an open string": repeated("\\", '"'),
    "quotes": repeated("'\"\\"),
    "offsets of nothing": repeated(" offset 0s", "x"),
    "subqueries": repeated("[1m:]", "x"),
    "labels": repeated("a,", "sum by (", "a) (x)"),
    "fillings": repeated("fill(0) ", "x + ", "y"),
    "words": repeated("and "),
    "unknown names": repeated("nosuch ", "nosuch(", ")"),
}
#: Runs in a process of its own, with room for itself and little more, and a tenth of what one quadratic reading takes.
MEASURE = """
import json, resource, sys
from federation_core.errors import FederationError
from federation_core.signals.metrics.parse import parse
from tests.support.peak_memory import peak_bytes
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
for name, text in json.load(sys.stdin).items():
    print(name, file=sys.stderr)
    try:
        parse(text)
    except FederationError as exc:
        assert len(exc.message) < 1000, name
print(peak_bytes())
"""


def test_no_text_takes_long_or_much_memory() -> None:
    # Larger ones are refused unread.
    assert [name for name, text in COSTLY.items() if len(text.encode()) > QUERY.text_bytes] == []
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=json.dumps(COSTLY),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[4],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Nothing else is said, no panic of the parser.
    assert done.stderr.splitlines() == list(COSTLY)
    assert int(done.stdout) < 250_000_000
