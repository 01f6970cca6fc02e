"""A real web role for tests, started as in production, in front of a `Stack`."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.support.stack import PROJECT, Stack
from webapp.cli.stack import commands


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, with the names that `tests.support.openapi` reads."""

    status_code: int
    headers: Any
    text: str

    @property
    def mimetype(self) -> str:
        return str(self.headers.get("Content-Type", "")).partition(";")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class WebServer:
    """Starts gunicorn on a free port, or a given one; a context manager that leaves no process behind."""

    stack: Stack
    port: int = 0

    def __enter__(self) -> WebServer:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = self.port or probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        argv = commands.web(f"127.0.0.1:{port}")
        with (self.stack.folder / "web.log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=PROJECT, env=self.stack.environ, stdout=log, stderr=log)
        self.stack.until(self._answers, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def log(self) -> str:
        """Everything the web role has logged."""
        return (self.stack.folder / "web.log").read_text()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request and return its answer, whatever its status."""
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urlopen(Request(self.url + path, data, names, method=method), timeout=30) as response:
                return Answer(response.status, response.headers, response.read().decode())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a POST with a JSON body."""
        return self.send("POST", path, body, **headers)

    def _answers(self) -> bool:
        try:
            return self.get("/health").status_code == 200
        except OSError:
            return False
