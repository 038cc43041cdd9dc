"""Containers, as far as they can be tried without a daemon: the compose file, the image's steps, the health checks.

`make containers` runs them: see tests/containers.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from ruamel.yaml import YAML

from config.celeryconfig import worker_soft_shutdown_timeout
from config.settings import variables
from tests.containers.images import BASES, tag_of
from tests.containers.scenarios import SCENARIOS
from tests.support.fleet import clean_environment, wait_for
from tests.support.paths import ROOT
from tests.support.servers import Postgres, free_port

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "config" / "docker" / "Dockerfile"
MAKE_SECRETS = ROOT / "config" / "docker" / "make-secrets"


@pytest.fixture(scope="module")
def compose() -> Any:
    return YAML(typ="safe").load(COMPOSE)


@pytest.fixture
def secret_files(tmp_path: Path) -> Path:
    subprocess.run(["sh", MAKE_SECRETS, tmp_path / "secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def as_a_shell_sees_it(text: str, secret_files: Path) -> str:
    """A command of the compose file as it is run, its secrets being where they are here."""
    return text.replace("$$", "$").replace("/run/secrets", str(secret_files))


# --- the compose file


def test_the_compose_file_keeps_to_the_schema() -> None:
    call = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    said = subprocess.run(call, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_compose_linter_finds_no_error() -> None:
    linter = shutil.which("dclint")
    if linter is None:
        pytest.skip("npm's package dclint is not installed here")  # .ci/run installs it where it can
    said = subprocess.run([linter, COMPOSE], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


def test_services_have_what_operators_rely_on(compose: Any) -> None:
    services = compose["services"]
    assert set(services) == {"redis", "postgres", "pool", "worker", "flower"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["image"].rpartition(":")[2] not in ("", "latest"), name
        assert name in ("pool", "worker", "flower") or "user" in service, name
        assert name == "pool" or {"healthcheck", "stop_grace_period"} <= set(service), name
        assert "container_name" not in service  # could not be scaled
        assert {"mem_limit", "pids_limit"} <= set(service), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
    assert int(services["worker"]["stop_grace_period"].rstrip("s")) > 2 * worker_soft_shutdown_timeout
    assert services["worker"]["environment"]["REMAP_SIGTERM"] == "SIGQUIT"
    assert "ports" not in services["worker"]
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
    user = re.findall(r"^USER (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert user == ["10001:10001"]


def test_one_service_builds_the_image_and_nobody_looks_for_it_elsewhere(compose: Any) -> None:
    ours = {name: service for name, service in compose["services"].items() if "pairing-fleet" in service["image"]}
    assert [name for name, service in ours.items() if "build" in service] == ["pool"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}
    assert len({service["image"] for service in ours.values()}) == 1


def test_up_keeps_the_number_of_workers(compose: Any) -> None:
    assert compose["services"]["worker"]["scale"] == "${WORKERS:-1}"


def test_the_fleet_is_no_superuser_and_flower_has_nothing_of_the_pool(compose: Any) -> None:
    services = compose["services"]
    assert "POSTGRES_USER" not in services["postgres"]["environment"]  # that one is a superuser
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/run/secrets/postgres_password"
    assert {name for name, service in services.items() if "postgres_password" in service["secrets"]} == {"postgres"}
    assert services["flower"]["secrets"] == ["broker_url", "flower_auth"]
    assert not any("POOL" in name for name in services["flower"]["environment"])


def test_the_role_is_made_as_the_compose_file_says(secret_files: Path, postgres: Postgres, tmp_path: Path) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("there is no psql here")
    script = tmp_path / "role.sql"
    names = {"/run/secrets": str(secret_files), "pairing": f"fleet_{secrets.token_hex(4)}"}
    text = (ROOT / "config" / "docker" / "pool-role.sql").read_text()
    for name, value in names.items():
        text = text.replace(name, value)
    script.write_text(text)
    role, password = names["pairing"], (secret_files / "pool_password").read_text()
    call = [psql, "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--host", "127.0.0.1", "--port", str(postgres.port)]
    environment = {**os.environ, "PGPASSWORD": postgres.password}
    subprocess.run(
        [*call, "--username", postgres.user, "--dbname", "postgres", "--file", script], env=environment, check=True
    )
    with closing(postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", (role,))
        assert cursor.fetchall() == [(False, False, False)]
    with closing(postgres.connect(role, user=role, password=password)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE anything (id integer)")


def test_settings_are_settings_and_secrets_are_files(compose: Any) -> None:
    known = {name + ending for names in variables().values() for name in names for ending in ("", "_FILE")}
    for service in compose["services"].values():
        given = service.get("environment", {})
        assert {name for name in given if name.startswith("PAIRING_")} <= known
        files = [Path(value) for value in given.values() if str(value).startswith("/run/secrets/")]
        assert {file.name for file in files} <= set(service.get("secrets", ()))
        for name in given:
            assert not re.search("PASSWORD$|AUTH$|BROKER_URL$", name), f"{name} is a secret"
    for secret in compose["secrets"].values():
        assert set(secret) == {"file"}


def test_secrets_are_made_once_and_fit_together(secret_files: Path, compose: Any) -> None:
    made = {path.name: path.read_text() for path in secret_files.iterdir()}
    assert set(made) == set(compose["secrets"])
    assert made["broker_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert re.fullmatch(r"operator:[0-9a-f]{48}", made["flower_auth"])
    assert made["pool_password"] != made["redis_password"]
    assert stat.S_IMODE(secret_files.stat().st_mode) == 0o700
    subprocess.run(["sh", MAKE_SECRETS, secret_files], check=True)
    assert {path.name: path.read_text() for path in secret_files.iterdir()} == made


def test_redis_starts_as_the_compose_file_says(compose: Any, secret_files: Path, tmp_path: Path) -> None:
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        pytest.skip("there is no redis-server here")
    service, port = compose["services"]["redis"], free_port()
    shell, option, script = service["command"]
    script = as_a_shell_sees_it(script, secret_files).replace("dir /data", f"dir {tmp_path}\nport {port}")
    password = (secret_files / "redis_password").read_text()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([shell, option, script], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password=password) as client:
            wait_for("Redis", lambda: _answers(client))
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        command_line = Path(f"/proc/{server.pid}/cmdline")
        assert not command_line.exists() or password.encode() not in command_line.read_bytes()
        kind, check = service["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        check = as_a_shell_sees_it(check, secret_files).replace("redis-cli", f"redis-cli -p {port}")
        assert subprocess.run(["sh", "-c", check], check=False).returncode == 0
        (secret_files / "redis_password").chmod(0o600)
        (secret_files / "redis_password").write_text("another")
        assert subprocess.run(["sh", "-c", check], capture_output=True, check=False).returncode != 0
    finally:
        server.terminate()  # it is the server itself: the shell has become it
        assert server.wait(30) == 0


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


# --- health checks


@contextmanager
def answering(status: int) -> Iterator[int]:
    """An HTTP server that answers everything so: its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_flower_is_healthy_when_it_says_so(compose: Any, status: int, healthy: bool) -> None:
    _, _, option, program = compose["services"]["flower"]["healthcheck"]["test"]
    with answering(status) as port:
        call = [sys.executable, option, program.replace("5556", str(port))]
        assert (subprocess.run(call, capture_output=True, check=False).returncode == 0) == healthy


def test_a_worker_that_is_not_there_is_not_healthy(compose: Any, redis_url: str, tmp_path: Path) -> None:
    # That one which is there is healthy is seen where there is one: see test_services.
    kind, check = compose["services"]["worker"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    folder = Path(sys.executable).parent
    environment = clean_environment(
        PAIRING_BROKER_URL=redis_url,
        PAIRING_KEY_PREFIX=f"test-{secrets.token_hex(6)}:",
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
    )
    call = ["sh", "-c", check.replace("$$", "$").replace("--timeout 10", "--timeout 1")]
    said = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "No nodes replied" in said.stdout + said.stderr


# --- the image


def copied(folder: Path) -> None:
    """What the image's stages copy from the project, as .dockerignore lets it."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text(), re.MULTILINE):
        *sources, target = line.split()
        target = target.removeprefix("/")
        for source in sources:
            assert source in allowed, f".dockerignore hides {source}"
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
                shutil.copytree(ROOT / source, folder / target, ignore=ignored)
            else:
                shutil.copy(ROOT / source, folder / target)


def test_what_the_image_copies_is_enough(tmp_path: Path) -> None:
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    copied(source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    said = subprocess.run([*build, "--wheel-dir", wheels, "."], cwd=source, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert b"pairing = tasks.commands.main:run_command" in wheel.read(points)
        assert "config/systemd/pairing-.service.d/system.conf" in wheel.namelist()


def test_the_image_starts_the_command() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert json.loads(next(line for line in lines if line.startswith("ENTRYPOINT ")).partition(" ")[2]) == ["pairing"]
    assert json.loads(next(line for line in lines if line.startswith("CMD ")).partition(" ")[2]) == ["--help"]


def test_the_code_is_no_part_of_the_layer_of_the_dependencies() -> None:
    before, install, after = DOCKERFILE.read_text().partition("/opt/pairing/bin/pip install --constraint")
    assert install
    assert not re.search("^COPY (pairing|tasks|config) ", before, re.MULTILINE)
    assert len(re.findall("^COPY (?:pairing|tasks|config) ", after, re.MULTILINE)) == 3


def test_the_dependencies_are_those_of_the_project(tmp_path: Path) -> None:
    (step,) = re.findall(r'^RUN python3 -c "(.*?)"$', DOCKERFILE.read_text(), re.MULTILINE | re.DOTALL)
    code = step.replace("\\\n", "").replace("'/", f"'{tmp_path}/")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (tmp_path / "project.txt").read_text().splitlines() == project["project"]["dependencies"]
    assert (tmp_path / "build.txt").read_text().splitlines() == project["build-system"]["requires"]


# --- what runs them


def test_every_base_image_has_a_stand_in(compose: Any) -> None:
    used = {service["image"] for service in compose["services"].values() if "pairing-fleet" not in service["image"]}
    stages = set(re.findall("^FROM (\\S+)(?: AS (\\S+))?$", DOCKERFILE.read_text(), re.MULTILINE))
    used |= {image for image, _ in stages} - {name for _, name in stages}
    assert {tag_of(base.repository) for base in BASES} == used


def test_the_page_has_every_scenario() -> None:
    page = (ROOT / "docs" / "services.md").read_text()
    table = page.partition("<!-- containers -->")[2].partition("<!-- end of containers -->")[0]
    named = [line.split(" | ")[0].strip("| ") for line in table.strip().splitlines()[2:]]
    assert named == [scenario.name for scenario in SCENARIOS]
