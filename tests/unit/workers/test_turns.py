from threading import Event, Lock, Thread

from workers.cancelling import ShardCancellation
from workers.turns import Turns

LONG_S = 60.0


def test_no_more_than_so_many_have_a_turn_at_once_and_everybody_gets_one() -> None:
    turns, counting = Turns({"prod": 3}), Lock()
    now, most, had = [0], [0], [0]

    def take() -> None:
        with turns.taken("prod", LONG_S, ShardCancellation()) as mine:
            assert mine
            with counting:
                now[0] += 1
                had[0] += 1
                most[0] = max(most[0], now[0])
            Event().wait(0.002)
            with counting:
                now[0] -= 1

    threads = [Thread(target=take) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (had, most) == ([24], [3])


def test_the_turns_of_one_cluster_are_not_anothers() -> None:
    turns = Turns({"prod": 1, "dev": 1})
    with turns.taken("prod", 0, ShardCancellation()), turns.taken("dev", 0, ShardCancellation()) as mine:
        assert mine


def test_who_waits_past_his_time_gets_none_and_takes_none() -> None:
    turns = Turns({"prod": 1})
    with turns.taken("prod", LONG_S, ShardCancellation()):
        with turns.taken("prod", 0.01, ShardCancellation()) as mine:
            assert not mine
        with turns.taken("prod", 0, ShardCancellation()) as mine:
            assert not mine
    with turns.taken("prod", 0, ShardCancellation()) as mine:
        assert mine


def test_who_is_cancelled_while_he_waits_waits_no_longer() -> None:
    turns, unwanted, ended = Turns({"prod": 1}), ShardCancellation(), []

    def wait() -> None:
        with turns.taken("prod", LONG_S, unwanted) as mine:
            ended.append(mine)

    with turns.taken("prod", LONG_S, ShardCancellation()):
        waiting = Thread(target=wait)
        waiting.start()
        unwanted.cancel()
        waiting.join(10)
        assert ended == [False]


def test_a_smaller_share_takes_no_turn_away_and_gives_none_until_there_are_fewer() -> None:
    turns = Turns({"prod": 3})
    with turns.taken("prod", 0, ShardCancellation()), turns.taken("prod", 0, ShardCancellation()):
        turns.resize("prod", 1)
        with turns.taken("prod", 0, ShardCancellation()) as mine:
            assert not mine
    with turns.taken("prod", 0, ShardCancellation()) as mine:
        assert mine
        with turns.taken("prod", 0, ShardCancellation()) as another:
            assert not another


def test_a_larger_share_is_given_to_those_who_wait() -> None:
    turns, got = Turns({"prod": 1}), []

    def wait() -> None:
        with turns.taken("prod", LONG_S, ShardCancellation()) as mine:
            got.append(mine)

    with turns.taken("prod", 0, ShardCancellation()):
        waiting = [Thread(target=wait) for _ in range(2)]
        for thread in waiting:
            thread.start()
        turns.resize("prod", 3)
        for thread in waiting:
            thread.join(10)
        assert got == [True, True]


def test_who_is_refused_while_he_waits_waits_no_longer_and_leaves_the_turn_to_the_next() -> None:
    turns, refused, ended = Turns({"prod": 1}), Event(), []

    def wait(welcome: bool) -> None:
        with turns.taken("prod", LONG_S, ShardCancellation(), lambda: refused.is_set() and not welcome) as mine:
            ended.append((welcome, mine))

    threads = [Thread(target=wait, args=(welcome,)) for welcome in (False, True)]
    with turns.taken("prod", 0, ShardCancellation()):
        for thread in threads:
            thread.start()
        refused.set()
        turns.resize("prod", 1)
        threads[0].join(10)
        assert ended == [(False, False)]
    threads[1].join(10)
    assert ended == [(False, False), (True, True)]
