"""What an answer that is none means, where a backend refuses in plain words and not in an envelope of its own.

Rule: of a refusal the class follows the status and the words are the backend's own, one line of them; a page (HTML) is
nobody's words. A redirect is never followed, so it is a refusal too. What a backend says of its own troubles names
those it could not reach: where they are is for its operators, and who asks reads only that there is somebody.
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
#: A URL, an address with or without a port, a name with a port.
_ADDRESS: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'\\<>]+"
    r"|\[[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{0,36}\](?::[0-9]+)?"
    r"|\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b(?::[0-9]+)?"
    r"|(?<![\w.-])[A-Za-z](?:[\w-]|\.(?=\w))*:[0-9]{2,5}\b"
    r"|(?<=\blookup )[\w.-]+"
)


def refusal(answer: Answer, cluster: str, api: str) -> ClusterError:
    """Return the error that an answer's status means; `api` names what was expected there."""
    status, words = answer.status, words_of(answer)
    if status >= 500 or status == 408:
        words = without_addresses(words)
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


def without_addresses(words: str) -> str:
    """Return what a backend says of its own troubles without the addresses in it.

    >>> without_addresses('Post "http://a.b:9/read": dial tcp 10.0.0.1:9: lookup a.b on [fd::1]:53: no such host')
    'Post "<address>": dial tcp <address>: lookup <address> on <address>: no such host'
    >>> without_addresses("rpc error: code = 14 desc = store-0.stores:10901 is gone, [2:30] after line 12:4")
    'rpc error: code = 14 desc = <address> is gone, [2:30] after line 12:4'
    """
    return _ADDRESS.sub("<address>", words)


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
