"""What Redis does at once with a heartbeat: a sign of life, what was seen of the backends, and what all make of it.

Rule: everything is by Redis' own clock. A worker of another release is no trouble: what it says of itself are three
numbers under its name, and everything else has a field or a key of its own, which a reader that knows nothing of it
passes over. A key of a cluster that holds what it should not costs no other cluster its beat.
"""

from __future__ import annotations

from federation_core.connectors.stores.breakers import STEPS, TTL_MS
from federation_core.connectors.stores.jobs_keys import REMEMBER_MS

#: When another worker of its cluster beats, one that has been silent for so long has nothing more to tell.
FORGET_MS = 60_000

#: KEYS: for each cluster: beats, breakers, health of its backends
#: ARGV: worker, clock_ms, alive_ms (0: it is leaving), report (`-`: it has no number),
#: for each cluster: its engine, the entries that this worker can probe (a blank before and after each),
#: number of sightings, for each: entry, has answered (1), failures since, words;
#: number of rows, for each: entry, age_ms, row
#: Returns Redis' time, and for each cluster: how many living workers serve it, which of them this one is (from 0, by
#: name; of those that live), and for each breaker that is kept: entry, breaker, whether this worker is to probe (1).
BEAT = (
    f"local keep, forget, breaker_ttl = {REMEMBER_MS}, {FORGET_MS}, {TTL_MS}\n"
    + """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""
    + STEPS
    + """
local worker, clock, alive, report = unpack(ARGV, 1, 4)
local at = 4
local function given()
  at = at + 1
  return ARGV[at]
end
-- A hash as a table; what else may be there is removed.
local function hash_of(key)
  local found = redis.pcall('HGETALL', key)
  if found.err then redis.call('DEL', key) return {} end
  local fields = {}
  for i = 1, #found, 2 do fields[found[i]] = found[i + 1] end
  return fields
end

-- Notes a sign of life, and forgets the workers that this one comes after.
local function beat(key, engine)
  redis.call('HSET', key, worker, string.format('%.0f', now) .. ' ' .. clock .. ' ' .. alive)
  if engine ~= '' then redis.call('HSET', key, 'engine', string.format('%.0f', now) .. ' ' .. engine) end
  local processes, before, living = 0, 0, {}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local seen, lives = string.match(all[i + 1], '^(%d+) %-?%d+ (%d+)$')
    if seen and now - tonumber(seen) < tonumber(lives) then
      processes, living[all[i]] = processes + 1, true
      if all[i] < worker then before = before + 1 end
    end
    if (tonumber(string.match(all[i + 1], '^%d+')) or 0) < now - forget then redis.call('HDEL', key, all[i]) end
  end
  redis.call('PEXPIRE', key, keep)
  return processes, before, living
end

-- Notes what this worker has seen of one backend, in a field `entry worker`, and forgets what those have that are gone.
local function show(key, entry, age, row, fields, living)
  redis.call('HSET', key, entry .. ' ' .. worker, string.format('%.0f', now - age) .. ' ' .. row)
  redis.call('PEXPIRE', key, keep)
  for field in pairs(fields) do
    local of, whose = string.match(field, '^(%S+) ?(.*)$')
    if of == entry and whose ~= worker and not living[whose] then redis.call('HDEL', key, field) end
  end
end

local told = {string.format('%.0f', now)}
for k = 1, #KEYS, 3 do
  local processes, before, living = beat(KEYS[k], given())
  local able = given()
  local kept, after = hash_of(KEYS[k + 1]), {}
  for entry, value in pairs(kept) do after[entry] = breaker_read(value) end
  for _ = 1, tonumber(given()) do
    local entry, answered, failed, words = given(), given() == '1', tonumber(given()), given()
    after[entry] = breaker_after(after[entry], worker, report, answered, failed, words, living)
  end
  local answer = {processes, before}
  for entry, b in pairs(after) do
    local can = string.find(able, ' ' .. entry .. ' ', 1, true) ~= nil
    local mine = breaker_probed_by(b, worker, can, living)
    local value = breaker_written(b)
    if value ~= kept[entry] then
      redis.call('HSET', KEYS[k + 1], entry, value)
      redis.call('PEXPIRE', KEYS[k + 1], breaker_ttl)
    end
    answer[#answer + 1] = entry
    answer[#answer + 1] = value
    answer[#answer + 1] = mine and 1 or 0
  end
  for entry in pairs(kept) do
    if not after[entry] then redis.call('HDEL', KEYS[k + 1], entry) end
  end
  local rows = tonumber(given())
  local shown = rows > 0 and hash_of(KEYS[k + 2])
  for _ = 1, rows do
    local entry, age, row = given(), tonumber(given()), given()
    show(KEYS[k + 2], entry, age, row, shown, living)
  end
  told[#told + 1] = answer
end
return told
"""
)
