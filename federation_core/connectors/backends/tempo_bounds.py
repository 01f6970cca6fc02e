"""What one search of a Tempo may ask for, learnt from what it refuses.

Rule: bounds only become narrower, and a search that was refused is tried again where they have since it was begun, by
its own refusal or by that of another query; so each ends.
Source: Grafana Tempo documentation, "Configuration" (`max_search_duration`, `max_result_limit`); the words of the first
are recorded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from federation_core.connectors.trace_search import NS_PER_S
from federation_core.errors import InvalidRequest
from federation_core.signals.traces.language import parse_duration_ns

_SHORTER: Final = re.compile(r"start and end exceeds (?P<allowed>[0-9a-z.]{1,40})\. received")
_FEWER: Final = re.compile(r"limit [0-9]+ exceeds max limit (?P<allowed>[0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest stretch in seconds and the most traces of one search; Tempo's own until it says less."""

    longest_s: int = 168 * 3_600
    most: int = 10_000

    def after(self, refusal: str) -> Bounds:
        """Return the bounds that hold after a refusal in these words."""
        if fewer := _FEWER.search(refusal):
            return replace(self, most=min(self.most, max(int(fewer["allowed"]), 1)))
        if shorter := _SHORTER.search(refusal):
            try:
                allowed_s = parse_duration_ns(shorter["allowed"]) // NS_PER_S
            except InvalidRequest:
                return self
            return replace(self, longest_s=min(self.longest_s, max(allowed_s, 1)))
        return self
