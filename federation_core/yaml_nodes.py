"""YAML with places: nodes that know their file and line, so that every complaint can point.

Rule: a key that is not known, a key given twice and a value of the wrong kind are errors, never ignored. Only
`config` uses this, and only this imports a YAML library.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

import yaml

from federation_core.errors import InvalidConfig, InvalidRequest
from federation_core.labels import CLUSTER
from federation_core.times import parse_duration_ms

#: A name that may become a queue, a key and a label value: a DNS label, as Kubernetes names clusters.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

#: Names that begin with two underscores are Prometheus' own.
_LABEL = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")


class Node:
    """One YAML value with its place."""

    def __init__(self, file: str, node: yaml.Node, key: str = "") -> None:
        self._node = node
        self._file = file
        self._key = key

    @property
    def origin(self) -> str:
        """`file:line`, the line counted from 1."""
        return f"{self._file}:{self._node.start_mark.line + 1}"

    def fail(self, what: str) -> NoReturn:
        """Raise InvalidConfig saying `what` at this place."""
        key = f"{self._key}: " if self._key else ""
        raise InvalidConfig(f"{self.origin}: {key}{what}", file=self._file, line=self._node.start_mark.line + 1)

    def mapping(self, keys: Sequence[str]) -> Mapping:
        """Read a mapping whose keys are among `keys`."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(f"{self._shown()} is not a mapping; expected the keys {', '.join(keys)}")
        found: dict[str, Node] = {}
        for key_node, value_node in self._node.value:
            key, place = str(key_node.value), Node(self._file, key_node)
            if key not in keys:
                place.fail(f"unknown key {key!r}; known here: {', '.join(keys)}")
            if key in found:
                place.fail(f"key {key!r} is given twice")
            found[key] = Node(self._file, value_node, key)
        return Mapping(self, found)

    def items(self) -> list[Node]:
        """Read a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(f"{self._shown()} is not a list")
        return [Node(self._file, child) for child in self._node.value]

    def text(self) -> str:
        """Read a scalar as text, not empty."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.value == "":
            self.fail(f"{self._shown()} is not a text")
        return str(self._node.value)

    def name(self) -> str:
        """Read a name: lower case letters, digits and inner dashes, at most 63."""
        text = self.text()
        if not NAME.fullmatch(text):
            self.fail(f"{text!r} is not a name; use a-z, 0-9 and inner dashes, at most 63 characters")
        return text

    def label(self) -> str:
        """Read the name of a label that is a backend's own."""
        text = self.text()
        if not _LABEL.fullmatch(text) or text == CLUSTER:
            self.fail(f"{text!r} is no label of a backend's own; give a label such as prometheus_replica")
        return text

    def number(self, above: float) -> float:
        """Read a finite number larger than `above`."""
        try:
            value = float(self.text())
        except ValueError:
            self.fail(f"{self._shown()} is not a number")
        if not above < value < float("inf"):
            self.fail(f"{value:g} is out of range; expected a number above {above:g}")
        return value

    def integer(self, at_least: int) -> int:
        """Read a whole number of at least `at_least`."""
        value = self.number(above=at_least - 1)
        if value != int(value):
            self.fail(f"{value:g} is not a whole number")
        return int(value)

    def duration_ms(self) -> int:
        """Read a duration above zero, such as `90d`; return milliseconds."""
        try:
            value = parse_duration_ms(self.text())
        except InvalidRequest as exc:
            self.fail(f"{self._shown()} is not a duration; expected {exc.details['expected']}")
        if value == 0:
            self.fail("the duration is zero")
        return value

    def _shown(self) -> str:
        if isinstance(self._node, yaml.ScalarNode):
            return repr(self._node.value)
        return "a list" if isinstance(self._node, yaml.SequenceNode) else "a mapping"


class Mapping:
    """The checked entries of a YAML mapping."""

    def __init__(self, place: Node, entries: dict[str, Node]) -> None:
        self._place = place
        self._entries = entries

    def present(self) -> tuple[str, ...]:
        """Return the keys that are given, in order of the file."""
        return tuple(self._entries)

    def get(self, key: str) -> Node | None:
        """Return the value of `key`, or None."""
        return self._entries.get(key)

    def require(self, key: str) -> Node:
        """Return the value of `key`; raise InvalidConfig where it is not given."""
        if key not in self._entries:
            self._place.fail(f"`{key}` is missing")
        return self._entries[key]


def read_yaml(file: str, text: str) -> Node:
    """Parse one YAML document.

    Raises InvalidConfig: it is not YAML, or empty; with file and line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(exc, "problem", None) or str(exc)
        raise InvalidConfig(f"{file}:{line}: not YAML: {problem}", file=file, line=line) from None
    if node is None:
        raise InvalidConfig(f"{file}:1: the file is empty", file=file, line=1)
    return Node(file, node)
