"""The step of admission that Redis does at once: a place for a job, and for every shard where its cluster has one.

Rule: whatever dies, a place is free at the end of its lease, by Redis' own clock. Run twice for one job it takes no
second place.
"""

from __future__ import annotations

#: A cluster that nobody has asked for this long lends half of its share of the cap.
LEND_AFTER_MS = 60_000

#: KEYS: the tenant's running jobs, rates, for each cluster its shards in flight, for each shard: the tenant's in
#: flight there, the cluster's queue
#: ARGV: member, most jobs, lease_ms, cap, lend_after_ms, rates_ttl_ms, number of clusters, for each cluster: name,
#: share, for each shard: place of its cluster in the list, most in flight, most of the tenant, leaves, leaves per
#: second, burst
#: Returns a row per refusal: place of the cluster (0: the job has none), why, ms after which it may be different.
ADMIT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local member, most_jobs, lease, cap = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lend_after, rates_ttl, clusters = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])

local function taken(key)
  local count = redis.call('ZCARD', key)
  if count > 0 then count = count - redis.call('ZREMRANGEBYSCORE', key, 0, now) end
  return count
end
local function take(key)
  redis.call('ZADD', key, now + lease, member)
  if redis.call('PTTL', key) < lease then redis.call('PEXPIRE', key, lease) end
end
local function first_end(key)
  return math.max(0, (tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]) or now) - now)
end

if taken(KEYS[1]) >= most_jobs and not redis.call('ZSCORE', KEYS[1], member) then
  return {{0, 'jobs', first_end(KEYS[1])}}
end
take(KEYS[1])

local names, share, used, asked = {}, {}, {}, {}
for c = 1, clusters do
  names[c], share[c] = ARGV[6 + 2 * c], tonumber(ARGV[7 + 2 * c])
  used[c] = taken(KEYS[2 + c])
end
local first_shard, shards = 7 + 2 * clusters, (#KEYS - 2 - clusters) / 2
for s = 1, shards do asked[tonumber(ARGV[first_shard + 6 * s - 5])] = true end

-- Half of a share is always kept for its cluster; the other half too, unless nobody asks the cluster.
-- `kept` counts what is taken or never lent, `held` what is taken or not lent now; neither outgrows the cap.
local kept, held, own, tokens, since = 0, 0, {}, {}, {}
local rates = redis.call('HMGET', KEYS[2], unpack(names))
for c = 1, clusters do
  local left, at = string.match(rates[c] or '', '^(%S+) (%d+)$')
  tokens[c], since[c] = tonumber(left), tonumber(at)
  own[c] = math.ceil(share[c] / 2)
  local lends = not asked[c] and (since[c] == nil or now - since[c] > lend_after)
  kept = kept + math.max(used[c], own[c])
  held = held + math.max(used[c], lends and own[c] or share[c])
end

local refused, left_now = {}, {}
for s = 1, shards do
  local a = first_shard + 6 * s - 5
  local c, most, most_of_tenant = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local leaves, rate, burst = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local all, of_tenant, queue = KEYS[2 + c], KEYS[1 + clusters + 2 * s], KEYS[2 + clusters + 2 * s]
  local left = math.min(burst, (tokens[c] or burst) + math.max(0, now - (since[c] or now)) * rate / 1000)
  if not redis.call('ZSCORE', all, member) then
    local why, wait = nil, 0
    if used[c] >= most then why, wait = 'cluster', first_end(all)
    elseif redis.call('LLEN', queue) >= most then why, wait = 'queue', first_end(all)
    elseif taken(of_tenant) >= most_of_tenant then why, wait = 'tenant', first_end(of_tenant)
    elseif used[c] >= own[c] and (used[c] < share[c] and kept or held) >= cap then why, wait = 'cap', first_end(all)
    elseif left < math.min(leaves, burst) then
      why, wait = 'rate', math.ceil((math.min(leaves, burst) - left) * 1000 / rate)
    end
    if why then
      refused[#refused + 1] = {c, why, wait}
    else
      -- More leaves than a burst holds are owed.
      left = left - leaves
      take(all)
      take(of_tenant)
      if used[c] >= own[c] then kept = kept + 1 end
      if used[c] >= share[c] then held = held + 1 end
      used[c] = used[c] + 1
    end
  end
  left_now[#left_now + 1] = names[c]
  left_now[#left_now + 1] = string.format('%.6f %.0f', left, now)
end
if shards > 0 then
  redis.call('HSET', KEYS[2], unpack(left_now))
  redis.call('PEXPIRE', KEYS[2], rates_ttl)
end
return refused
"""
