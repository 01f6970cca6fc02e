"""The demo's configuration is one that the federation itself accepts."""

from pathlib import Path

import pytest

from federation_core.config import parse
from webapp.cli.demo.configuration import RETENTION_MS, store_paths, write_config

ENVIRON = {"AUTH_ENABLED": "false"}


def test_the_written_file_configures_six_clusters_with_four_backends(tmp_path: Path) -> None:
    file = write_config(tmp_path)
    settings = parse(ENVIRON, {file.name: file.read_text(encoding="utf-8")}, str(tmp_path))
    assert [cluster.name for cluster in settings.clusters] == [
        "app-prod",
        "dev",
        "prod",
        "shared-services",
        "stage",
        "test",
    ]
    for cluster in settings.clusters:
        assert [backend.signal for backend in cluster.backends] == ["metrics", "traces", "logs", "inventory"]
        assert {backend.kind for backend in cluster.backends} == {"embedded"}
        assert {Path(backend.path) for backend in cluster.backends} == {store_paths(tmp_path)[cluster.name]}
        assert cluster.retention_ms == RETENTION_MS


def test_stores_elsewhere_are_written_with_their_whole_path(tmp_path: Path) -> None:
    stores = {name: tmp_path / 'a "quoted" place' / name for name in store_paths(tmp_path)}
    file = write_config(tmp_path / "config", stores)
    settings = parse(ENVIRON, {file.name: file.read_text(encoding="utf-8")}, str(tmp_path / "config"))
    assert {Path(backend.path) for cluster in settings.clusters for backend in cluster.backends} == set(stores.values())


def test_stores_inside_are_written_relative_so_that_the_folder_can_move(tmp_path: Path) -> None:
    assert str(tmp_path) not in write_config(tmp_path).read_text(encoding="utf-8")


def test_a_cluster_without_a_store_is_named(tmp_path: Path) -> None:
    stores = store_paths(tmp_path)
    del stores["shared-services"]
    with pytest.raises(ValueError, match="no store is given for shared-services"):
        write_config(tmp_path, stores)
