"""The Dockerfile and what it is built from: no root, no secrets, nothing unlocked, nothing that is not needed."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def instructions() -> list[Instruction]:
    """The instructions in their order, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in pairs]


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    start = max(place for place, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def sent_to_the_builder() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "everything is left out first"
    return [line[1:] for line in lines if line.startswith("!")]


def test_every_stage_is_built_on_a_base_of_a_full_version(instructions: list[Instruction]) -> None:
    [base] = [rest for word, rest in instructions if word == "ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+", base)
    stages = [rest.split(" AS ")[0] for word, rest in instructions if word == "FROM"]
    assert stages == ["${PYTHON_IMAGE}"] * 2


def test_the_base_is_a_python_that_we_support(instructions: list[Instruction]) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = next(re.findall(r"python:(3\.\d+)", rest)[0] for word, rest in instructions if word == "ARG")
    assert f"Programming Language :: Python :: {version}" in setup["metadata"]["classifiers"]


def test_it_runs_as_a_user_by_number_who_is_not_root(instructions: list[Instruction]) -> None:
    [user] = [rest for word, rest in last_stage(instructions) if word == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


def test_nothing_is_installed_that_is_not_locked_by_hash(instructions: list[Instruction]) -> None:
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert installs
    for command in installs:
        assert "--require-hashes" in command or {"--no-deps", "--no-build-isolation"} <= set(command.split()), command
    assert not any(word in rest for _, rest in instructions for word in ("apt-get", "curl", "wget", "ADD http"))


def test_no_secret_is_named_in_it(instructions: list[Instruction]) -> None:
    named = [rest for word, rest in instructions if word in {"ARG", "ENV", "COPY", "LABEL"}]
    assert [rest for rest in named if re.search(r"PASSWORD|SECRET|TOKEN|JWT|_KEY|REDIS_URL|\.env", rest, re.I)] == []


def test_the_builder_is_sent_what_is_built_and_nothing_else() -> None:
    sent = sent_to_the_builder()
    assert [name for name in sent if not (ROOT / name).exists()] == []
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = {line.rstrip("*") for line in setup["options.packages.find"]["include"].split()}
    files = {"setup.cfg", "pyproject.toml", "README.md", "requirements-flower.lock"}
    assert set(sent) == packages | files


def test_the_last_stage_takes_from_the_builder_and_not_from_the_tree(instructions: list[Instruction]) -> None:
    copied = [rest for word, rest in last_stage(instructions) if word in {"COPY", "ADD"}]
    assert copied
    assert all(rest.startswith("--from=build ") for rest in copied)


def test_it_says_how_it_is_and_takes_signals_itself(instructions: list[Instruction]) -> None:
    last = dict(last_stage(instructions))
    assert json.loads(last["HEALTHCHECK"].partition(" CMD ")[2]) == ["appsentry", "health"]
    # A list, not a text: a shell between the engine and the role would swallow SIGTERM.
    assert json.loads(last["CMD"])[:2] == ["appsentry", "web"]
