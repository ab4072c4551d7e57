from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from composition.images import ROOT, check_of, command_of, image_of
from composition.services import NotUnderstoodError, Places, Service, read_services

COMPOSE = ROOT / "docker-compose.yml"
Change = Callable[[dict[str, Any]], None]


def services() -> dict[str, Service]:
    return read_services(COMPOSE, {})


def changed(folder: Path, change: Change) -> dict[str, Service]:
    yaml = YAML(typ="safe")
    document = yaml.load(COMPOSE.read_text())
    change(document["services"])
    path = folder / "docker-compose.yml"
    yaml.dump(document, path)
    return read_services(path, {})


def test_every_service_of_the_file_has_a_known_image_and_a_pinned_tag() -> None:
    found = services()
    assert {"proxy", "gateway-1", "gateway-2", "worker", "postgresql", "kubo", "prometheus"} <= set(found)
    for service in found.values():
        assert image_of(service).programs


def test_nothing_in_the_file_may_write_outside_its_places() -> None:
    document = YAML(typ="safe").load(COMPOSE.read_text())
    for name, body in document["services"].items():
        assert body["read_only"] is True, name
        assert body["cap_drop"] == ["ALL"], name
        assert body["security_opt"] == ["no-new-privileges:true"], name
        assert body["image"].startswith(("nginxinc/nginx-unprivileged:", "prom/prometheus:")) or body["user"], name


def _new_key(found: dict[str, Any]) -> None:
    found["worker"]["privileged"] = True


def _shell_check(found: dict[str, Any]) -> None:
    found["worker"]["healthcheck"]["test"] = ["CMD-SHELL", "true"]


def _never_well(found: dict[str, Any]) -> None:
    found["gateway-1"]["depends_on"]["migrate"] = {"condition": "service_healthy"}


@pytest.mark.parametrize("change, told", [(_new_key, "privileged"), (_shell_check, "CMD"), (_never_well, "migrate")])
def test_what_cannot_be_run_without_containers_is_an_error(tmp_path: Path, change: Change, told: str) -> None:
    with pytest.raises(NotUnderstoodError, match=told):
        changed(tmp_path, change)


def _other_command(found: dict[str, Any]) -> None:
    found["worker"]["command"] = ["celery", "worker"]


def _other_check(found: dict[str, Any]) -> None:
    found["worker"]["healthcheck"]["test"] = ["CMD", "curl", "http://127.0.0.1"]


def _no_tag(found: dict[str, Any]) -> None:
    found["worker"]["image"] = "platemark-gateway:latest"


@pytest.mark.parametrize("change, told", [(_other_command, "celery"), (_other_check, "curl"), (_no_tag, "latest")])
def test_commands_checks_and_images_that_are_not_known_are_errors(tmp_path: Path, change: Change, told: str) -> None:
    worker = changed(tmp_path, change)["worker"]
    with pytest.raises(NotUnderstoodError, match=told):
        command_of(worker), check_of(worker)


def test_a_variable_that_nothing_reads_is_an_error() -> None:
    with pytest.raises(NotUnderstoodError, match="PLATEMARK_ADDRESS"):
        read_services(COMPOSE, {"PLATEMARK_ADDRESS": "http://127.0.0.1"})


def test_names_ports_and_paths_are_replaced_once_each() -> None:
    found = services()
    ports = {f"{each.name}:{port}": 20_000 + port for each in found.values() for port in each.ports}
    places = Places(found["gateway-1"], found, ports, Path("/tmp/root"))
    assert places.here("--port 8080") == "--port 28080"
    assert places.here("/dns4/kubo/tcp/5001") == "/ip4/127.0.0.1/tcp/25001"
    assert places.here("x://u@postgresql:5432/d?f=/run/secrets/postgresql-passfile") == (
        "x://u@127.0.0.1:25432/d?f=/tmp/root/run/secrets/postgresql-passfile"
    )
    assert places.here('["172.30.80.2"]') == '["127.0.0.1"]'
    assert places.here("/tmp/a 18080 5432.5") == "/tmp/root/tmp/a 18080 5432.5"
