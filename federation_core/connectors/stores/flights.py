"""Questions in flight: an equal question of the same scope joins the job that is already being executed.

Rule: a job that joins is a job of its own, with its own id, owner's list and cancellation; its progress and result are
those of the job it follows. Nobody joins in the last half of an execution's time, because its clusters' deadline is
nearer than the one he asked for. The work ends early only when nobody is left who wants the answer.
"""

from __future__ import annotations

from collections.abc import Callable

from federation_core.connectors.stores import jobs_keys as keys
from federation_core.connectors.stores.redis import ANSWER_TIMEOUT_S, answering
from federation_core.connectors.stores.redis_store import RedisStore, Script
from federation_core.errors import QueryNotFound
from federation_core.plan import Plan

#: Two of a kind may land while we look; after so many the question is executed on its own.
_LOOKS = 3

#: Lead the flight of a question, or learn who leads it.
#: KEYS: flight  ARGV: query id, window_ms
_ENTER = """
local leader = redis.call('GET', KEYS[1])
if leader then return leader end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""

#: Follow the leader; where he has landed, or nobody wants his answer, lead the next flight instead.
#: KEYS: flight, leader's job, wanting, our job, deadlines  ARGV: leader, query id, our member, window_ms, keep_ms
#: Returns 1 we follow, 0 we lead, -1 somebody else leads by now.
_FOLLOW = """
local unwanted = redis.call('HEXISTS', KEYS[2], 'withdrawn_ms') == 1 and redis.call('SCARD', KEYS[3]) == 0
if unwanted or redis.call('EXISTS', KEYS[2]) == 0 or redis.call('HEXISTS', KEYS[2], 'finished_ms') == 1 then
  local leader = redis.call('GET', KEYS[1])
  if leader and leader ~= ARGV[1] then return -1 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
  return 0
end
if redis.call('HEXISTS', KEYS[2], 'withdrawn_ms') == 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[4], 'follows', ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[3])
return 1
"""

#: Have nobody join any more, unless another leads by now.
#: KEYS: flight  ARGV: query id
_LEAVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

#: Want the answer no longer.
#: KEYS: our job, executed job, wanting  ARGV: query id, now_ms
#: Returns how many still want it, -1 it has ended, -2 there is no such job.
_WITHDRAW = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[2]) == 0 then return -2 end
if redis.call('HEXISTS', KEYS[2], 'finished_ms') == 1 then return -1 end
redis.call('HSETNX', KEYS[1], 'withdrawn_ms', ARGV[2])
redis.call('SREM', KEYS[3], ARGV[1])
return redis.call('SCARD', KEYS[3])
"""


class Flights(RedisStore):
    """The questions in flight of all tenants. Opens nothing until it is used; thread-safe."""

    _enter = Script(_ENTER)
    _follow = Script(_FOLLOW)
    _leave = Script(_LEAVE)
    _withdraw = Script(_WITHDRAW)

    def __init__(
        self, url: str, result_ttl_ms: int, clock: Callable[[], int], *, answer_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        super().__init__(url, answer_s=answer_s)
        self._ttl_ms = result_ttl_ms
        self._clock = clock

    def enter(self, plan: Plan) -> str:
        """Join the flight of a plan's question; return the id of the job that executes it, the plan's own if it leads.

        The plan's job must be written before, so that whoever follows it finds it.

        Raises StoreUnavailable.
        """
        tenant_id, query_id = plan.query.tenant_id, plan.query_id
        flight, window_ms = keys.flight(tenant_id, plan.fingerprint), max(1, plan.query.timeout_ms // 2)
        with answering():
            for _ in range(_LOOKS):
                leader = self._enter(keys=[flight], args=[query_id, window_ms]).decode()
                if leader == query_id:
                    return query_id
                followed = self._follow(
                    keys=[
                        flight,
                        keys.job(tenant_id, leader),
                        keys.wanting(tenant_id, leader),
                        keys.job(tenant_id, query_id),
                        keys.DEADLINES,
                    ],
                    args=[
                        leader,
                        query_id,
                        keys.member(tenant_id, query_id),
                        window_ms,
                        plan.query.timeout_ms + self._ttl_ms,
                    ],
                )
                if followed >= 0:
                    return str(leader) if followed else query_id
        return query_id

    def leave(self, plan: Plan) -> None:
        """Have nobody join a plan's execution any more; a flight that another leads is left alone.

        Raises StoreUnavailable.
        """
        with answering():
            self._leave(keys=[keys.flight(plan.query.tenant_id, plan.fingerprint)], args=[plan.query_id])

    def withdraw(self, tenant_id: str, query_id: str, executed_id: str) -> bool | None:
        """Want the answer no longer; return whether nobody wants it now, None if it is there already.

        The job counts as cancelled from now on, whoever else wants the answer.

        Raises StoreUnavailable. QueryNotFound: there is no such job.
        """
        with answering():
            left = self._withdraw(
                keys=[
                    keys.job(tenant_id, query_id),
                    keys.job(tenant_id, executed_id),
                    keys.wanting(tenant_id, executed_id),
                ],
                args=[query_id, self._clock()],
            )
        if left == -2:
            raise QueryNotFound("there is no such query", query_id=query_id)
        return None if left == -1 else left == 0
