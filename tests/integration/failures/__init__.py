"""The failure matrix: one kind of trouble per test, on a stack with a process per cluster that all of them share.

Every test claims three things: the job ends by its deadline and two seconds, the ledger names exactly what was done to
it, and the next query is answered in full (`federation` checks that after each test).
"""
