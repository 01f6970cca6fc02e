"""The few steps on jobs that Redis must do at once, as scripts.

Rule: running a script twice with the same arguments changes nothing more, because a lost answer makes the client send
it again. A script names all its keys, but for `PUT_PART`, which names its part's key alone: it crosses a wide-area link
for every cluster of every query, and its other keys follow from that one. (One Redis is the broker, never a cluster of
them, for which keys have to be named.)
"""

from __future__ import annotations

from federation_core.connectors.stores.jobs_keys import (
    JOIN_LATE_MS,
    PART_TTL_MS,
    QUEUE_TTL_MS,
    REMEMBER_JOBS,
    REMEMBER_MS,
)

#: Write a new job, or send the tasks of a job, or both: all of it or nothing. So a key of a wrong type, at which Redis
#: would stop halfway, is looked for first.
#: KEYS: job, the tenant's jobs, deadlines, chord, the queue of each task
#: ARGV: plan (empty: the job is there), created_ms, deadline_ms, timeout_ms, keep_ms, query id, member, the callback's
#: queue and message, for each task: its part as the chord awaits it, its message
#: Returns 1, 0 it has been done before. Error: a key holds what it should not.
SUBMIT = (
    f"local remember, remember_jobs = {REMEMBER_MS}, {REMEMBER_JOBS}\n"
    f"local join_late, queue_ttl = {JOIN_LATE_MS}, {QUEUE_TTL_MS}"
    + """
local types = {'hash', 'zset', 'zset', 'hash'}
for i, key in ipairs(KEYS) do
  local found, wanted = redis.call('TYPE', key).ok, types[i] or 'list'
  if found ~= 'none' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found .. ' and no ' .. wanted)
  end
end
local job, listed, deadlines, chord = unpack(KEYS, 1, 4)
local plan, created, deadline, timeout, keep, query, member, queue, message = unpack(ARGV, 1, 9)
if plan ~= '' then
  if redis.call('EXISTS', job) == 1 then return 0 end
  redis.call('HSET', job, 'plan', plan, 'created_ms', created)
  redis.call('PEXPIRE', job, timeout + keep)
  redis.call('ZADD', listed, created, query)
  redis.call('ZREMRANGEBYSCORE', listed, 0, created - remember)
  redis.call('ZREMRANGEBYRANK', listed, 0, -remember_jobs - 1)
  redis.call('PEXPIRE', listed, remember)
  redis.call('ZADD', deadlines, deadline, member)
  redis.call('PEXPIRE', deadlines, remember)
end
if #KEYS == 4 then return 1 end
if redis.call('EXISTS', chord) == 1 then return 0 end
redis.call('HSET', chord, 'queue', queue, 'message', message)
redis.call('PEXPIRE', chord, timeout + join_late)
for i = 5, #KEYS do
  redis.call('HSET', chord, ARGV[2 * i], '')
  redis.call('LPUSH', KEYS[i], ARGV[2 * i + 1])
  redis.call('PEXPIRE', KEYS[i], queue_ttl)
end
return 1
"""
)

#: Note when a part was begun, while its job runs: said too late, it would make a part anew that nobody removes.
#: KEYS: part, job  ARGV: started_ms, part_ttl_ms
#: Returns 1, 0 the job has ended or is no longer there.
START_PART = """
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('HEXISTS', KEYS[2], 'finished_ms') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'started_ms', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

#: Store a part unless there is one, give back its place, finish its task's message, and send the callback if no other
#: part is awaited. The first part stays: a second delivery of its task may have failed where the first had not.
#: The names are those of `jobs_keys`: quoted, so that none holds a colon. A worker's lease holds a message as it was
#: sent, with the part's key as the task's id.
#: KEYS: part  ARGV: owner of the lease or empty, head, data
#: Returns 1 if this part was the last one awaited.
PUT_PART = (
    f"local part_ttl, queue_ttl = {PART_TTL_MS}, {QUEUE_TTL_MS}"
    + """
local cluster, tenant, query = string.match(KEYS[1], '^part:([^:]*):([^:]*):([^:]*)$')
local member = tenant .. ':' .. query
if redis.call('HEXISTS', KEYS[1], 'data') == 0 then
  redis.call('HSET', KEYS[1], 'head', ARGV[2], 'data', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], part_ttl)
end
redis.call('ZREM', 'inflight:' .. cluster .. ':', member)
redis.call('ZREM', 'inflight:' .. cluster .. ':' .. tenant, member)
if ARGV[1] ~= '' then
  local lease, id = 'lease:cluster.' .. cluster .. ':' .. ARGV[1], '"' .. KEYS[1] .. '"'
  for _, message in ipairs(redis.call('LRANGE', lease, 0, -1)) do
    if string.find(message, id, 1, true) then redis.call('LREM', lease, 0, message) end
  end
end
local chord = 'chord:' .. member
if redis.call('HDEL', chord, 'part:' .. cluster) == 0 or redis.call('HLEN', chord) > 2 then return 0 end
local queue, message = unpack(redis.call('HMGET', chord, 'queue', 'message'))
redis.call('LPUSH', queue, message)
redis.call('PEXPIRE', queue, queue_ttl)
redis.call('DEL', chord)
return 1
"""
)

#: Store the result if there is none, end the job, give back its places, and wake every waiter.
#: KEYS: job, result, wake, claim, deadlines, the tenant's running jobs, for each cluster: its part, its shards in
#: flight, the tenant's of them  ARGV: data, state, finished_ms, ttl_ms, rows, member
#: Returns 1 stored, 0 there was a result already, -1 there is no such job.
PUT_RESULT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finished_ms') == 1 then return 0 end
local ttl = math.max(tonumber(ARGV[4]), tonumber(redis.call('HGET', KEYS[1], 'keep_ms') or 0))
local expires = string.format('%.0f', tonumber(ARGV[3]) + ttl)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ttl)
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'finished_ms', ARGV[3], 'rows', ARGV[5], 'expires_ms', expires)
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], '1')
redis.call('PEXPIRE', KEYS[3], ttl)
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[6])
redis.call('ZREM', KEYS[6], ARGV[6])
for i = 7, #KEYS, 3 do
  redis.call('UNLINK', KEYS[i])
  redis.call('ZREM', KEYS[i + 1], ARGV[6])
  redis.call('ZREM', KEYS[i + 2], ARGV[6])
end
return 1
"""

#: Keep a job and its result for longer: from now, or from its end where it still runs.
#: KEYS: executed job, its result, its wake, our job if it is another  ARGV: keep_ms, expires_ms, longest_run_ms
#: Returns 1, 0 there is no such job.
KEEP = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local keep = tonumber(ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'finished_ms') == 0 then
  if keep > tonumber(redis.call('HGET', KEYS[1], 'keep_ms') or 0) then redis.call('HSET', KEYS[1], 'keep_ms', keep) end
  if KEYS[4] then redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), keep + tonumber(ARGV[3]))) end
  return 1
end
for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 and left < keep then redis.call('PEXPIRE', KEYS[i], keep) end
end
local expires = tonumber(redis.call('HGET', KEYS[1], 'expires_ms') or 0)
if tonumber(ARGV[2]) > expires then redis.call('HSET', KEYS[1], 'expires_ms', ARGV[2]) end
return 1
"""

#: Remove parts that came after the result, and count them in the job. Said twice it finds them gone.
#: KEYS: job, part…
#: Returns how many parts there were; 0 too where the job is open or no longer there.
DROP_LATE_PARTS = """
if redis.call('HEXISTS', KEYS[1], 'finished_ms') == 0 then return 0 end
local late = 0
for i = 2, #KEYS do
  late = late + redis.call('HEXISTS', KEYS[i], 'data')
  redis.call('UNLINK', KEYS[i])
end
if late > 0 then redis.call('HINCRBY', KEYS[1], 'late_parts', late) end
return late
"""
