"""The breakers of backends, shared by all workers of a cluster: who is not asked, since when, and until when.

Rule: a step is taken by Redis, by its own clock, when a worker's heartbeat brings what that has seen. So many failures
in a row, without a success of anybody between them, open a breaker; of several workers one that cannot reach a backend
must have had the others' word first, so the failures must then go on for as long as every worker needs to hear of them
and to probe. Open, nobody asks. When its pause is over each worker is told to probe, once: the first that is answered
closes it, and when all have failed it opens for twice as long, so that a worker which alone cannot reach the backend
keeps it from nobody. Only breakers with failures are kept, so usually there is nothing to read. The words are those of
probes: what a backend answers to a query may be a tenant's own, and a breaker is everybody's.
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
#: So long the workers have for the probe that decides: its own time and the way of two beats.
PROBE_MS: Final = 5_000
#: What nobody has anything to say of any more is forgotten: longer than the longest pause and a probe.
TTL_MS: Final = 90_000
#: As much of an error's words as is kept.
WORDS_CHARS: Final = 300
#: Why it has failed, until a probe has said more.
QUERY_WORDS: Final = "a query found no connection to it"

#: The steps, for a script that has set `now`. A breaker is `state failures since retry pause tried by words`, where
#: `tried` are the workers that have had their turn while it is half open, and `by` is the report that was counted last:
#: one that comes twice, as its answer was lost, counts once. `living` has the names of the cluster's workers as keys.
STEPS: Final = (
    f"local many, first_pause, longest_pause = {FAILURES}, {FIRST_PAUSE_MS}, {LONGEST_PAUSE_MS}\n"
    f"local everybody, probe_within, query_words = {EVERYBODY_MS}, {PROBE_MS}, '{QUERY_WORDS}'\n"
    + """
local states = {closed = true, open = true, half_open = true}
local function breaker_read(value)
  local state, failures, since, retry, pause, tried, by, words =
    string.match(value or '', '^(%S+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (.*)$')
  if not states[state or ''] then return nil end
  return {state = state, failures = tonumber(failures), since = tonumber(since), retry = tonumber(retry),
    pause = tonumber(pause), tried = tried, by = by, words = words}
end
local function breaker_written(b)
  return string.format('%s %.0f %.0f %.0f %.0f ', b.state, b.failures, b.since, b.retry, b.pause)
    .. b.tried .. ' ' .. b.by .. ' ' .. b.words
end

local function breaker_reopened(b, at)
  b.state, b.tried, b.retry = 'open', '-', at + b.pause
  b.pause = math.min(2 * b.pause, longest_pause)
end

local function breaker_word(worker)
  return (string.gsub(worker, '[%s,]', '_'))
end
local function breaker_tried(b, worker)
  return string.find(',' .. b.tried .. ',', ',' .. breaker_word(worker) .. ',', 1, true) ~= nil
end
-- Notes that a worker has had its turn, without success; it was the last one where all that live have had theirs.
local function breaker_missed(b, worker, living)
  if not breaker_tried(b, worker) then
    b.tried = (b.tried == '-' and '' or b.tried .. ',') .. breaker_word(worker)
  end
  for other in pairs(living) do
    if not breaker_tried(b, other) then return end
  end
  breaker_reopened(b, now)
end

-- The breaker, nil for one that is closed and has nothing against it, after a worker's report: whether the backend has
-- answered it, and how often it has failed since, in the words of a probe ('': those were queries).
local function breaker_after(b, worker, report, answered, failed, words, living)
  if b and b.by == report then return b end
  if answered then b = nil end
  if failed == 0 then return b end
  b = b or {state = 'closed', failures = 0, since = now, retry = now, pause = first_pause, tried = '-', words = ''}
  b.failures, b.by = b.failures + failed, report
  if words ~= '' then b.words = words elseif b.words == '' then b.words = query_words end
  local alone = true
  for other in pairs(living) do alone = alone and other == worker end
  if b.state == 'closed' and b.failures >= many and (alone or now - b.since >= everybody) then
    b.since = now
    breaker_reopened(b, now)
  elseif b.state == 'half_open' then
    breaker_missed(b, worker, living)
  end
  return b
end

-- Whether this worker is to probe now. `able`: it can; one that cannot is not waited for.
local function breaker_probed_by(b, worker, able, living)
  if b.state == 'half_open' and now >= b.retry then
    -- Who was told and has not said anything is gone, or hangs. Where nobody has there is no more known than before.
    if b.tried == '-' then b.state = 'open' else breaker_reopened(b, b.retry) end
  end
  if b.state == 'open' and able and now >= b.retry then
    b.state, b.tried, b.retry = 'half_open', '-', now + probe_within
  end
  if b.state == 'half_open' and not able then breaker_missed(b, worker, living) end
  return able and b.state == 'half_open' and not breaker_tried(b, worker)
end
"""
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one process has seen of one backend since its last beat.

    Whether that has answered, how often it has failed since then, and what the last probe said that failed; "" where
    only queries have.
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
