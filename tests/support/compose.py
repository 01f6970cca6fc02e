"""docker-compose.yml without docker: the file as the engine would read it, and its services as plain processes.

What a container would give is put in by text: the network name of Redis, the folders of the volumes, the ports.
Everything else, commands and environment, is what the file says.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from webapp.cli.stack import commands

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "docker-compose.yml"
PATIENCE_S = 90.0
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(:\?[^}]*)?\})")


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with its variables put in. A value is scanned once: what is put in is not scanned again.

    Raises LookupError: a variable is not set, with the file's own message.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        if not environ.get(found[1]):
            raise LookupError(f"{found[1]}: {found[2]}")
        return environ[found[1]]

    def put_in(node: Any) -> Any:
        if isinstance(node, str):
            return _VARIABLE.sub(value, node)
        if isinstance(node, dict):
            return {key: put_in(item) for key, item in node.items()}
        return [put_in(item) for item in node] if isinstance(node, list) else node

    document: dict[str, Any] = put_in(yaml.safe_load(FILE.read_text()))
    return document


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Composed:
    """The services of the file as processes below one folder; a context manager that leaves none behind."""

    folder: Path
    environ: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Composed:
        self.services: dict[str, Any] = read(self.environ)["services"]
        self.ports = {"redis": free_port(), "web": free_port(), "flower": free_port()}
        (self.folder / "redis").mkdir()
        (self.folder / "demo").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str) -> None:
        """Start a service's command in its environment."""
        service = self.services[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._argv(service["command"]), env=self._environment(service), cwd=self.folder, stdout=log, stderr=log
            )

    def well(self, name: str) -> bool:
        """Run a service's own health check; one that has ended is not well."""
        assert self.processes[name].poll() is None, self.log(name)
        service = self.services[name]
        kind, *test = service["healthcheck"]["test"]
        argv = ["sh", "-c", *map(self._here, test)] if kind == "CMD-SHELL" else self._argv(test)
        done = subprocess.run(argv, env=self._environment(service), cwd=self.folder, capture_output=True, check=False)
        return done.returncode == 0

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something that must happen."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < give_up_s, "".join(self.log(name)[-2000:] for name in self.processes)
            time.sleep(0.1)

    def log(self, name: str) -> str:
        """What a service has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _here(self, text: str) -> str:
        """Put in what a container would have given."""
        for inside, here in (
            ("redis:6379", f"127.0.0.1:{self.ports['redis']}"),
            ("dir /data", f"dir {self.folder}/redis\nbind 127.0.0.1\nport {self.ports['redis']}"),
            ("redis-cli ", f"redis-cli -p {self.ports['redis']} "),
            ("/demo", f"{self.folder}/demo"),
            ("--port=5555", f"--port={self.ports['flower']}"),
            ("--address=0.0.0.0", "--address=127.0.0.1"),
            (":5555/", f":{self.ports['flower']}/"),
        ):
            text = text.replace(inside, here)
        return {"8080": str(self.ports["web"]), "0.0.0.0": "127.0.0.1"}.get(text, text)

    def _argv(self, command: list[str]) -> list[str]:
        program, *arguments = map(self._here, command)
        # The same programs as in the image, of the interpreter that runs the tests.
        ours = {"appsentry": ["-m", "webapp.cli"], "celery": ["-m", "celery"], "python": []}
        return [sys.executable, *ours[program], *arguments] if program in ours else [program, *arguments]

    def _environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Return what the service is given, and of ours only where programs and libraries are."""
        given = {name: self._here(value) for name, value in service["environment"].items()}
        return commands.environment({"PATH": os.environ["PATH"], "HOME": "/nonexistent", **given})
