"""What an answer that is none means, where a backend refuses in plain words and not in an envelope of its own.

Rule: of a refusal the class follows the status and the words are the backend's own, one line of them; a page (HTML) is
nobody's words. A redirect is never followed, so it is a refusal too.
"""

from __future__ import annotations

from typing import Any, Final

from federation_core.connectors.http import Answer
from federation_core.errors import ClusterError, Malformed, Rejected, TimedOut, TooLarge, Unreachable

_WORDS: Final = 500


def refusal(answer: Answer, cluster: str, api: str) -> ClusterError:
    """Return the error that an answer's status means; `api` names what was expected there."""
    status, words = answer.status, words_of(answer)
    said = f": {words}" if words else ""
    if status in (401, 403):
        return Rejected(f"the backend refuses our credentials or tenant ({status}){said}", cluster=cluster)
    if status == 429:
        return Rejected(f"the backend takes no more requests now{said}", cluster=cluster, **_retry_after(answer))
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


def _retry_after(answer: Answer) -> dict[str, Any]:
    text = answer.headers.get("retry-after", "")
    return {"retry_after_s": float(text)} if text.isascii() and text.isdecimal() and len(text) < 7 else {}
