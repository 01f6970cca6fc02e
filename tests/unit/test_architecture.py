"""The import rules, and the promises that hold for every module. A walk over the syntax trees, nothing is run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_core import config, errors
from federation_core.connectors import backend_kinds

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("federation_core", "workers", "webapp")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: What the pure part of the core may import from outside.
PURE = {"numpy", "re2", "msgpack"}
SIGNALS = ("exemplars", "logs", "metrics", "series", "traces")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, also within functions; `from a import b` counts as `a.b` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS = {name_of(path): frozenset(imports_of(path)) for path in MODULES}


def offenders(modules: Iterator[str], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    def below(name: str, roots: tuple[str, ...]) -> bool:
        return any(name == root or name.startswith(root + ".") for root in roots)

    return [
        f"{module} imports {name}"
        for module in modules
        for name in sorted(IMPORTS[module])
        if below(name, forbidden) and not below(name, allowed)
    ]


def modules_below(*roots: str) -> Iterator[str]:
    return (m for m in IMPORTS if any(m == r or m.startswith(r + ".") for r in roots))


def test_core_outside_connectors_imports_only_pure_libraries() -> None:
    extra = {
        "federation_core.signals.metrics.parse": {"promql_parser"},
        "federation_core.yaml_nodes": {"yaml"},
    }
    found = []
    for module in modules_below("federation_core"):
        if module.startswith("federation_core.connectors"):
            continue
        for name in IMPORTS[module]:
            top = name.partition(".")[0]
            allowed = PURE | extra.get(module, set()) | set(sys.stdlib_module_names) | {"federation_core"}
            if top not in allowed:
                found.append(f"{module} imports {name}")
    assert found == []


def test_core_outside_connectors_does_no_io() -> None:
    pure = (m for m in modules_below("federation_core") if not m.startswith("federation_core.connectors"))
    reading = ("socket", "subprocess", "urllib", "http", "shutil", "tempfile", "threading", "os", "time")
    assert offenders(pure, reading) == []


def test_core_never_imports_workers_or_webapp() -> None:
    assert offenders(modules_below("federation_core"), ("workers", "webapp")) == []


def test_webapp_reaches_workers_through_dispatch_alone() -> None:
    assert offenders(modules_below("webapp"), ("workers",), ("workers.dispatch",)) == []


def test_webapp_has_no_route_to_a_cluster() -> None:
    routes = ("federation_core.connectors.backends", "federation_core.connectors.http")
    assert offenders(modules_below("webapp"), routes) == []


def test_workers_never_import_the_web() -> None:
    assert offenders(modules_below("workers"), ("flask", "webapp", "marshmallow", "flask_smorest")) == []


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_never_imports_another(signal: str) -> None:
    others = tuple(f"federation_core.signals.{s}" for s in SIGNALS if s != signal)
    assert offenders(modules_below(f"federation_core.signals.{signal}"), others) == []


def test_a_backend_never_imports_planning_another_backend_or_redis_stores() -> None:
    forbidden = (
        "federation_core.federate",
        "federation_core.signals.metrics.distribute",
        "federation_core.connectors.stores.jobs",
        "federation_core.connectors.stores.redis",
        "redis",
    )
    assert offenders(modules_below("federation_core.connectors.backends"), forbidden) == []


def test_only_federate_composes_signals_topology_and_connectors() -> None:
    needed = ("federation_core.signals", "federation_core.topology", "federation_core.connectors")
    composing = [
        module
        for module in modules_below("federation_core")
        if all(any(name.startswith(root) for name in IMPORTS[module]) for root in needed)
    ]
    assert composing == ["federation_core.federate"]


def test_importing_opens_no_file_and_no_connection() -> None:
    """Import every module in a process whose socket and file-writing calls fail."""
    names = [m for m in IMPORTS if not m.endswith("__main__")]
    script = (
        "import importlib, sys\n"
        "def hook(event, args):\n"
        "    if event in ('socket.connect', 'subprocess.Popen', 'os.mkdir'): raise RuntimeError(event)\n"
        "    if event == 'open' and args[1] is not None and set(str(args[1])) & set('wax+') \n"
        "        and '__pycache__' not in str(args[0]): raise RuntimeError(f'open {args}')\n"
    ).replace(" \n        and", " and")
    script += f"sys.addaudithook(hook)\nfor name in {names!r}: importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-B", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_module_says_what_it_owns() -> None:
    silent = [
        name_of(path)
        for path in MODULES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_public_function_and_class_has_a_docstring() -> None:
    silent = []
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                small_error = isinstance(node, ast.ClassDef) and name_of(path) == "federation_core.errors"
                if ast.get_docstring(node) is None and not small_error:
                    silent.append(f"{name_of(path)}.{node.name}")
    assert silent == []


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    long = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    assert [name for name in errors.subclasses() if name not in drawn] == []


def test_every_environment_variable_is_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in config.ENVIRONMENT if f"`{name}`" not in text] == []


def test_every_backend_has_a_contract_test() -> None:
    tests = {path.name for path in (ROOT / "tests" / "contract").glob("test_*.py")}
    assert [kind for kind in backend_kinds() if f"test_{kind}.py" not in tests] == []


def test_the_tree_names_no_machine_path_and_no_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".cfg", ".toml", ".lock", ".sh", ".yaml"} and path.exists():
            text = path.read_text()
            found += [f"{name}: {word}" for word in ("/wo" + "rk/", "/ro" + "ot/", "pypi" + ".org") if word in text]
    assert found == []
