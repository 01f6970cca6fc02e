"""The few steps on jobs that Redis must do at once, as scripts.

Rule: a script names all its keys, and running it twice with the same arguments changes nothing more, because a lost
answer makes the client send it again.
"""

from __future__ import annotations

#: Store the result if there is none, end the job, and wake every waiter.
#: KEYS: job, result, wake, claim, deadlines, part…  ARGV: data, state, finished_ms, ttl_ms, rows, member
#: Returns 1 stored, 0 there was a result already, -1 there is no such job.
PUT_RESULT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
if redis.call('HEXISTS', KEYS[1], 'finished_ms') == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'finished_ms', ARGV[3], 'rows', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], '1')
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[6])
for i = 6, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
"""
