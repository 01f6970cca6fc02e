"""What an answer that is none means, where a backend refuses in plain words and not in an envelope of its own.

Rule: of a refusal the class follows the status and the words are the backend's own, one line of them; a page (HTML) is
nobody's words. A redirect is never followed, so it is a refusal too. What a backend, or a gateway before it, says may
name those it could not reach: where they are is for its operators, and who asks reads only that there is somebody.
What stands in a query may be said of that query.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

from federation_core.connectors.http import Answer
from federation_core.errors import ClusterError, Malformed, Rejected, TimedOut, TooLarge, Unreachable

_WORDS: Final = 500
#: One that takes no more requests now is there: it is throttled and has not failed, whether or not it says until when.
_SOON_S: Final = 1.0
_IPV6: Final = (
    r"(?:(?=[0-9A-Fa-f:]{0,37}::)(?=:{0,2}[0-9A-Fa-f])[0-9A-Fa-f:]{3,39}(?<![0-9A-Fa-f]:)"
    r"|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4})(?:(?:\.[0-9]{1,3}){3})?(?:%\w{1,20})?"
)
#: What names of hosts inside end with, and such outside; the latter are also parts of labels: `app.kubernetes.io/name`.
_INSIDE: Final = "internal|local|localdomain|lan|intranet|corp|private|svc|consul|arpa"
_OUTSIDE: Final = "com|net|org|io|cloud|dev"
#: What stands before a number with a colon and is no host.
_PLACES: Final = "line|col|column|pos|position|offset|char|code|status|limit|step"
#: Every alternative begins where a word does, or is bounded: what takes long to look through is nobody's words.
_ADDRESS: Final = re.compile(
    # What Go says of a certificate; who is asked for, where there is no other sign of a name.
    r"(?<=certificate is valid for )[^\"';]{1,600}?(?:, not [\w.*:-]+|(?=[\"';]|$))"
    r"|(?<=\blookup )(?!failed\b|error\b)[\w.-]+(?= on |: |$)"
    r"|(?:(?<=wanted to match )|(?<=certificate is not valid for )|(?<=\bhost=)|(?<=\bhostaddr=))[^\s,;:)}\"']+"
    # A URL, an address with or without a port, a name with a port, a name that ends as those of hosts do.
    r"|(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'\\<>]+"
    rf"|\[(?:{_IPV6}|::)\](?::[0-9]+)?"
    rf"|(?<![\w:.]){_IPV6}(?!\w|::?\w)"
    r"|\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b(?::[0-9]+)?"
    rf"|(?<![\w.-])(?!(?:{_PLACES}):)[A-Za-z](?:[\w-]|\.(?=\w))*\.?:[0-9]{{2,5}}\b(?!:[0-9]{{2}}\b)"
    rf"|(?<![\w.-])(?:\*\.)?(?:[\w-]+\.)+(?:(?:{_INSIDE})(?![\w-]|\.\w)|(?:{_OUTSIDE})(?![\w/-]|\.\w))(?::[0-9]+)?"
    # A file or a socket.
    r"|(?P<path>(?<![\w./-])(?:/(?:var|run|tmp|etc|data|home|opt|mnt|usr|srv|root|proc)/[\w.@+/-]+"
    r"|/[\w.@+:/-]{1,200}\.sock\b))"
)


def refusal(answer: Answer, cluster: str, api: str, asked: str = "") -> ClusterError:
    """Return the error that an answer's status means; `api` names what was expected there.

    `asked` is the query as it was sent, whose own words may be said of it.
    """
    status = answer.status
    words = without_addresses(words_of(answer), asked if status in (400, 422) else "")
    said = f": {words}" if words else ""
    if status in (401, 403):
        return Rejected(f"the backend refuses our credentials or tenant ({status}){said}", cluster=cluster)
    if status == 429:
        return Rejected(f"the backend takes no more requests now{said}", cluster=cluster, **retry_after(answer))
    if status in (408, 504):
        return TimedOut(f"the backend gave up in its own time{said}", cluster=cluster)
    if status == 413:
        return TooLarge(f"the backend answers that this is too large{said}", cluster=cluster)
    if status in (400, 422):
        return Rejected(f"the backend refuses the query{said}", cluster=cluster)
    if status >= 500:
        return Unreachable(f"the backend answers {status}{said}", cluster=cluster)
    if status == 200:
        return Malformed(f"the answer is not one of {api}", cluster=cluster)
    return Malformed(f"the backend answers {status}, which is none of {api}{said}", cluster=cluster)


def words_of(answer: Answer) -> str:
    """Return what a refusal says, as one line; empty where it says nothing, or with a page."""
    text = " ".join(answer.body[: 4 * _WORDS].decode(errors="replace").split())
    return "" if text.startswith("<") else text[:_WORDS]


def without_addresses(words: str, asked: str = "") -> str:
    """Return what a backend says without the addresses in it, but for those that stand in what it was asked.

    >>> without_addresses('Post "http://a.b:9/read": dial tcp 10.0.0.1:9: lookup a.b on [fd::1]:53: no such host')
    'Post "<address>": dial tcp <address>: lookup <address> on <address>: no such host'
    >>> without_addresses("rpc error: code = 14 desc = store-0.stores:10901 is gone, [2:30] after line 12:4")
    'rpc error: code = 14 desc = <address> is gone, [2:30] after line 12:4'
    """

    def shown(found: re.Match[str]) -> str:
        return found[0] if found[0] in asked else "<path>" if found["path"] else "<address>"

    return _ADDRESS.sub(shown, words)


def retry_after(answer: Answer) -> dict[str, float]:
    """Return `retry_after_s` as the backend says it, in seconds or as a time on its own clock; soon where it does not.

    >>> retry_after(Answer(429, {"retry-after": "7"}, b"")), retry_after(Answer(429, {"retry-after": "soon"}, b""))
    ({'retry_after_s': 7.0}, {'retry_after_s': 1.0})
    """
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return {"retry_after_s": float(text)}
    try:
        left = parsedate_to_datetime(text) - parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return {"retry_after_s": _SOON_S}
    return {"retry_after_s": max(left.total_seconds(), 0.0)}
