"""Random PromQL queries that a real Prometheus 2.42 and our engine must answer alike.

`Generator` draws `Tree`s over the lab's metrics; `smaller` lists what a mismatch is shrunk to. What is known to differ
between Prometheus 2.42 and 3, whose semantics are ours, is listed at the top of the module that keeps it out.
"""

from tests.support.random_queries.facts import Facts, Inadmissible
from tests.support.random_queries.generator import Generator
from tests.support.random_queries.tree import PROMETHEUS_2, PROMETHEUS_3, Tree, make, smaller

__all__ = ["PROMETHEUS_2", "PROMETHEUS_3", "Facts", "Generator", "Inadmissible", "Tree", "make", "smaller"]
