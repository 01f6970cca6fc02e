"""The judge: compares every answer with what it rests on, with its deadline and with the injected truth.

Rule: it knows what is true from the clusters' own numbers, each a power of ten, and from the episodes; it believes
neither the ledger nor the status it checks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from federation_core.plan import Plan
from tests.integration.chaos.clients import Notes, Refused, Told
from tests.integration.chaos.episodes import Episodes
from tests.support.stack import CLUSTERS
from webapp.auth import OPEN_TENANT

#: An answer is due by the deadline and this much.
GRACE_MS = 2_000
#: A cancelled job ends within this.
CANCEL_MS = 1_000
#: From this on a machine is so busy that a cluster may be slow without anybody's doing.
BUSY = 1.5
#: A job that was written has been sent by then.
SENT_MS = 1_000
#: A refusal is explained by what was wrong at most this long before it.
REFUSAL_MS = 3_000
_NOT_ASKED = ("pruned", "denied")
_IN_THE_ANSWER = ("ok", "partial", "cached")
#: Errors that an answer may have without anybody's fault in the code.
_HONEST_ERRORS = ("CoverageTooLow", "QueryTimeout", "QueryCanceled")
#: Refusal → the episodes that explain it.
_REASONS = {
    "StoreUnavailable": "redis slow",
    "BrokerUnavailable": "redis slow",
    "store-unavailable": "redis slow",
    "broker-unavailable": "redis slow",
    "no connection": "web killed",
}
_REFUSED_QUERIES = ("query-syntax-error", "query-too-large", "unsupported-query", "invalid-request", "about:blank")


@dataclass(frozen=True, slots=True)
class Ended:
    """One job as it rests in the store: its plan, when it ended (None: it has not), and its result."""

    plan: Plan
    finished_ms: int | None
    told: Told | None


@dataclass
class Findings:
    """What is wrong, by kind, and how much was looked at."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, query_id: str, what: object) -> None:
        """Note something that must not be."""
        self.wrong[kind].append(f"{query_id}: {what}")


def clusters_within(value: float, number: int) -> Counter[str]:
    """Return how often each cluster's number is in an answer; raises ValueError if it is made of something else.

    >>> clusters_within(2 * 1010, 2) == Counter({CLUSTERS[1]: 1, CLUSTERS[3]: 1})
    True
    """
    total = round(value / number)
    if total * number != value or total < 0 or total >= 10 ** len(CLUSTERS):
        raise ValueError(f"{value} is not {number} times a sum of the clusters' numbers")
    digits = reversed(str(total).zfill(len(CLUSTERS)))
    return Counter({name: int(digit) for name, digit in zip(CLUSTERS, digits, strict=True) if digit != "0"})


def judge(ended: Iterable[Ended], notes: Notes, episodes: Episodes) -> Findings:
    """Look at every job and at everything the clients were told."""
    findings = Findings()
    seen: dict[str, list[Told]] = defaultdict(list)
    for told in notes.told:
        seen[told.query_id].append(told)
    for job in ended:
        findings.counts["jobs"] += 1
        _judge_job(job, seen.get(job.plan.query_id, []), notes, episodes, findings)
    for query_id, instead in notes.unanswered:
        findings.add("a client got no answer", query_id, instead)
    for refused in notes.refused:
        findings.counts[f"refused: {refused.why}"] += 1
        if not _explained(refused, episodes):
            findings.add("refused without a reason", refused.over, refused)
    return findings


def _explained(refused: Refused, episodes: Episodes) -> bool:
    reason = _REASONS.get(refused.why)
    if reason is None:
        return refused.why in _REFUSED_QUERIES
    return episodes.overlap_ms(reason, refused.at_ms - REFUSAL_MS, refused.at_ms) > 0


def _judge_job(job: Ended, seen: list[Told], notes: Notes, episodes: Episodes, findings: Findings) -> None:
    plan = job.plan
    query_id = plan.query_id
    if job.finished_ms is None or job.told is None:
        findings.add("a job did not end", query_id, f"created {plan.created_ms}")
        return
    findings.counts[job.told.error or job.told.status] += 1
    _judge_time(job, plan.deadline_ms, GRACE_MS, "late", episodes, findings)
    cancelled_ms = notes.cancelled.get(query_id)
    if cancelled_ms is not None:
        _judge_time(job, cancelled_ms, CANCEL_MS, "cancelled too late", episodes, findings)
    for told in seen:
        if _facts(told) != _facts(job.told):
            findings.add("an answer changed", query_id, f"{told} became {job.told}")
    for told in [*seen, job.told]:
        for kind, what in faults_of(told, plan):
            findings.add(kind, query_id, what)
    if job.told.error != "QueryCanceled":
        _judge_ledger(job, job.finished_ms, job.told, episodes, findings)


def _facts(told: Told) -> tuple[object, ...]:
    """Return what every reading of an answer must have in common; of a cancelled one the ledger is how far it was."""
    return (told.status, told.error) if told.error == "QueryCanceled" else (told.status, told.verdicts, told.value)


def _judge_time(job: Ended, due_ms: int, grace_ms: int, kind: str, episodes: Episodes, findings: Findings) -> None:
    assert job.finished_ms is not None
    # While Redis stands still nothing can be written; that time is Redis', not ours. Nor is that of a busy machine.
    paused_ms = episodes.overlap_ms("redis paused", job.plan.created_ms, job.finished_ms)
    grace_ms = round(grace_ms * episodes.stretch(job.plan.created_ms, job.finished_ms) + paused_ms)
    if job.finished_ms > due_ms + grace_ms:
        late_ms = job.finished_ms - due_ms
        what = f"{late_ms} ms late, {grace_ms} ms are allowed; {episodes.told(job.plan.created_ms)}"
        findings.add(kind, job.plan.query_id, what)


def faults_of(told: Told, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an answer by itself: kind and explanation."""
    if told.status == "failed":
        if told.error not in _HONEST_ERRORS:
            yield "failed for no good reason", f"{told.error} {told.verdicts}"
        return
    number = int(plan.query.text.rpartition("* ")[2])
    try:
        within = clusters_within(told.value, number)
    except ValueError as exc:
        yield "an answer made of something else", str(exc)
        return
    asked = {name for name, verdict in told.verdicts.items() if verdict not in _NOT_ASKED}
    wanted = set(plan.query.clusters or CLUSTERS)
    if asked != wanted:
        yield "the ledger lists other clusters than were asked", f"{sorted(asked)} for {sorted(wanted)}"
    if told.status == "complete" and within != Counter(wanted):
        yield "looks complete and is not", f"{dict(within)} of {sorted(wanted)}"
    for name in CLUSTERS:
        verdict = told.verdicts.get(name, "missing")
        if within[name] > 1:
            yield "a cluster counted twice", f"{name}: {within[name]}"
        if verdict == "ok" and not within[name]:
            yield "the ledger says ok and nothing is there", name
        if within[name] and verdict not in _IN_THE_ANSWER:
            yield "the ledger denies what is there", f"{name}: {verdict}"
    answered = frozenset(name for name, verdict in told.verdicts.items() if verdict in ("ok", "cached"))
    unmet = plan.query.requirement.unmet_by(frozenset(asked), answered)
    if unmet:
        yield "answered though the requirement is not met", f"{plan.query.requirement}: {unmet}"


def _judge_ledger(job: Ended, finished_ms: int, told: Told, episodes: Episodes, findings: Findings) -> None:
    created_ms = job.plan.created_ms
    if job.plan.query.tenant_id == OPEN_TENANT and episodes.overlap_ms("web killed", created_ms, created_ms + SENT_MS):
        # The web process may have died between writing the job and sending it: then nobody was asked.
        findings.counts["jobs that may never have been sent"] += 1
        return
    for name, verdict in told.verdicts.items():
        if verdict in _NOT_ASKED:
            continue
        findings.counts["verdicts"] += 1
        expected = episodes.expected(name, created_ms, finished_ms)
        if expected is None:
            continue
        findings.counts["verdicts with a certain truth"] += 1
        if verdict in expected:
            continue
        stretch = episodes.stretch(created_ms, finished_ms)
        if verdict == "timed_out" and stretch > BUSY:
            findings.counts["slow on a busy machine"] += 1
            continue
        kind = "slow without a fault" if verdict == "timed_out" else "the ledger differs from the truth"
        took = f"after {finished_ms - created_ms} ms on a machine {stretch:.1f} times slower"
        what = f"{name}: {verdict}, not {'/'.join(sorted(expected))}, {took}"
        findings.add(kind, job.plan.query_id, f"{what}; {episodes.told(created_ms)}")
