"""The configuration folder, read from disk: the one place that opens what an operator wrote.

Rule: a worker that serves named clusters reads no other cluster's file, so that a machine near one cluster
needs only that cluster's configuration. Layout: `clusters.yaml`, or `clusters/<name>.yaml`, or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from federation_core.config import Settings, parse
from federation_core.errors import InvalidConfig


def load(environ: Mapping[str, str], config: str | None = None, only: tuple[str, ...] = ()) -> Settings:
    """Read and check the configuration; `config` wins over `APPSENTRY_CONFIG` and `CLUSTER_CONFIG`.

    `only` names the clusters to keep. Raises InvalidConfig: with file and line where there is one.
    """
    given = config or environ.get("APPSENTRY_CONFIG") or environ.get("CLUSTER_CONFIG")
    if not given:
        raise InvalidConfig("no configuration: give --config DIR, or set APPSENTRY_CONFIG or CLUSTER_CONFIG")
    place = Path(given)
    folder = place if place.is_dir() else place.parent
    settings = parse(_with_secrets(environ), _texts(place, only), str(folder.resolve()))
    if not only:
        return settings
    kept = tuple(settings.cluster(name) for name in sorted(set(only)))
    return replace(settings, clusters=kept)


def _texts(place: Path, only: tuple[str, ...]) -> dict[str, str]:
    if place.is_file():
        files = [place]
    elif place.is_dir():
        parts = sorted((place / "clusters").glob("*.yaml"))
        wanted = [part for part in parts if not only or part.stem in only]
        files = [file for file in (place / "clusters.yaml", *wanted) if file.is_file()]
    else:
        raise InvalidConfig(f"{place}: there is no such file or folder")
    if not files:
        raise InvalidConfig(f"{place}: holds neither clusters.yaml nor clusters/<name>.yaml")
    root = place if place.is_dir() else place.parent
    return {str(file.relative_to(root)): _read(file) for file in files}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as exc:
        raise InvalidConfig(f"{file}: cannot be read: {exc.strerror}", file=str(file)) from None
    except UnicodeDecodeError as exc:
        raise InvalidConfig(f"{file}: is not UTF-8 at byte {exc.start}", file=str(file)) from None


def _with_secrets(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Resolve `JWT_KEY_FILE`, so that a secret need not stand in the environment."""
    file = environ.get("JWT_KEY_FILE")
    if not file:
        return environ
    if environ.get("JWT_KEY"):
        raise InvalidConfig("JWT_KEY and JWT_KEY_FILE are both set; give one of them")
    return {**environ, "JWT_KEY": _read(Path(file)).strip()}
