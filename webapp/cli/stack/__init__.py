"""The whole product on one machine: every role a process of its own, none of which outlives the one that started it."""
