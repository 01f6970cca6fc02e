"""The breakers of backends, shared by all workers of a cluster: who is not asked, since when, and until when.

Rule: a step is taken by Redis, by its own clock, when a worker's heartbeat brings what that has seen. So many failures
in a row, without a success of anybody between them, open a breaker; of several workers one that cannot reach a backend
must have had the others' word first, so the failures must then go on for as long as every worker needs to hear of them
and to probe. Open, nobody asks. When its pause is over one worker is told to probe; that closes it, or opens it for
twice as long. Only breakers with failures are kept, so usually there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from federation_core.health import BackendBreaker, Breaker

#: So many failures in a row open a breaker.
FAILURES: Final = 3
#: How long it stays open the first time; twice as long each time, up to the second.
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 30_000
#: Within this time every worker has had its say: told with its next beat that a backend fails, it probes that too.
EVERYBODY_MS: Final = 6_000
#: So long one worker has for the probe that decides: its own time and the way of two beats. Then another one is told.
PROBE_MS: Final = 5_000
#: What nobody has anything to say of any more is forgotten: longer than the longest pause and a probe.
TTL_MS: Final = 90_000
#: As much of an error's words as is kept.
WORDS_CHARS: Final = 300

#: The steps, for a script that has set `now`. A breaker is `state failures since retry pause prober by words`, where
#: `by` is the report that was counted last: one that comes twice, as its answer was lost, counts once.
STEPS: Final = (
    f"local many, first_pause, longest_pause = {FAILURES}, {FIRST_PAUSE_MS}, {LONGEST_PAUSE_MS}\n"
    f"local everybody, probe_within = {EVERYBODY_MS}, {PROBE_MS}\n"
    + """
local states = {closed = true, open = true, half_open = true}
local function breaker_read(value)
  local state, failures, since, retry, pause, prober, by, words =
    string.match(value or '', '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (.*)$')
  if not states[state or ''] then return nil end
  return {state = state, failures = tonumber(failures), since = tonumber(since), retry = tonumber(retry),
    pause = tonumber(pause), prober = prober, by = by, words = words}
end
local function breaker_written(b)
  return string.format('%s %.0f %.0f %.0f %.0f ', b.state, b.failures, b.since, b.retry, b.pause)
    .. b.prober .. ' ' .. b.by .. ' ' .. b.words
end

-- The breaker, nil for one that is closed and has nothing against it, after a worker's report: whether the backend has
-- answered it, and how often it has failed since. `alone`: it is the cluster's only worker.
local function breaker_after(b, report, answered, failed, words, alone)
  if b and b.by == report then return b end
  if answered then b = nil end
  if failed == 0 then return b end
  b = b or {state = 'closed', failures = 0, since = now, retry = now, pause = first_pause, prober = '-'}
  b.failures, b.words, b.by = b.failures + failed, words, report
  local opens = b.state == 'closed' and b.failures >= many and (alone or now - b.since >= everybody)
  if opens then b.since = now end
  if opens or b.state == 'half_open' then
    b.state, b.prober, b.retry = 'open', '-', now + b.pause
    b.pause = math.min(2 * b.pause, longest_pause)
  end
  return b
end

-- Whether this worker is to probe now: the first one that asks once the pause, or another's time for it, is over.
local function breaker_probed_by(b, worker)
  if b.state ~= 'closed' and now >= b.retry then
    b.state, b.prober, b.retry = 'half_open', worker, now + probe_within
  end
  return b.state == 'half_open' and b.prober == worker
end
"""
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one process has seen of one backend since its last beat.

    Whether that has answered, how often it has failed since then, and the words of the last failure.
    """

    answered: bool = False
    failed: int = 0
    words: str = ""


def read_breaker(value: bytes, ahead_ms: int = 0) -> BackendBreaker | None:
    """Read what the script wrote; None where it is something else. `ahead_ms`: by so much a reader's clock is ahead."""
    try:
        state, failures, since, retry, _, _, _, words = value.split(b" ", 7)
        return BackendBreaker(
            Breaker(state.decode()),
            int(since) + ahead_ms,
            int(retry) + ahead_ms,
            int(failures),
            words.decode(errors="replace")[:WORDS_CHARS],
        )
    except ValueError:
        return None


def read_breakers(fields: Mapping[bytes, bytes], ahead_ms: int = 0) -> dict[str, BackendBreaker]:
    """Read the breakers of one cluster: entry → breaker, without what cannot be read."""
    read = {name.decode(errors="replace"): read_breaker(value, ahead_ms) for name, value in fields.items()}
    return {name: breaker for name, breaker in read.items() if breaker is not None}
