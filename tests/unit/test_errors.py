"""Every error crosses a process boundary and comes out the same."""

from __future__ import annotations

import json
import pickle

import pytest

from federation_core.errors import (
    ClusterError,
    FederationError,
    InternalError,
    InvalidRequest,
    TimedOut,
    from_wire,
    subclasses,
)


@pytest.mark.parametrize("cls", subclasses().values())
def test_every_class_survives_the_wire_with_its_details(cls: type[FederationError]) -> None:
    error = cls("what went wrong", **{name: name.upper() for name in cls.detail_names})
    back = from_wire(json.loads(json.dumps(error.to_wire())))
    assert type(back) is cls
    assert (back.message, back.details) == (error.message, error.details)


@pytest.mark.parametrize("cls", subclasses().values())
def test_every_class_survives_pickle(cls: type[FederationError]) -> None:
    back = pickle.loads(pickle.dumps(cls("x", **dict.fromkeys(cls.detail_names, 1))))
    assert type(back) is cls
    assert back.details == dict.fromkeys(cls.detail_names, 1)


def test_a_detail_that_is_not_given_reads_as_none() -> None:
    assert InvalidRequest("x", field="step").got is None


def test_an_unknown_detail_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="has no detail colour"):
        InvalidRequest("x", colour="red")


def test_an_error_of_a_newer_release_is_shown_not_lost() -> None:
    back = from_wire({"error": "QuantumError", "message": "both", "details": {"cat": 1}})
    assert type(back) is InternalError
    assert "QuantumError" in str(back)
    assert "both" in str(back)


def test_faults_of_one_cluster_are_cluster_errors() -> None:
    assert isinstance(TimedOut("late", cluster="stage"), ClusterError)
