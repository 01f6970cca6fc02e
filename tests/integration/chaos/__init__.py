"""Random trouble for a whole stack, and a judge who knows what the trouble was.

`python -m tests.integration.chaos --queries 10000 --seed 7` runs it by hand; `test_chaos.py` is the short form.
`episodes` is what was done and when, `faults` does it, `roles` keeps the processes, `clients` ask, `judge` compares.
"""
