"""The table of settings: what is accepted, and the code of everything that is not."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu import Connection

from config import complaints, example
from config.brokers import broker
from config.complaints import UNKNOWN, SettingsError, of_names
from config.kubernetes import is_injected
from config.settings import Settings, settings, variables
from pairing.errors import InputError
from tasks.client.environment import checked_settings
from tasks.worker.command import worker_environment
from tests.support.paths import ROOT

POOL = {"PAIRING_POOL_HOST": "db.example", "PAIRING_POOL_NAME": "pool", "PAIRING_POOL_USER": "user"}
SECRET = "s3cret-word"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("PAIRING_", "CHEROKEE_")):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield
    settings.cache_clear()


def found(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return settings()


def complained(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        found(monkeypatch, environment)
    with pytest.raises(InputError, match=re.escape(str(caught.value))):
        checked_settings()
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    for complaint in caught.value.complaints:
        assert f"{complaint.code} {complaint.variable}: {complaint.text}" in str(caught.value)
    return [(complaint.code, complaint.variable) for complaint in caught.value.complaints]


# --- what is accepted


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = settings()
    settings.cache_clear()
    names = [name + ending for names in variables().values() for name in names for ending in ("", "_FILE")]
    names.remove("PAIRING_BROKER_URL")
    assert found(monkeypatch, dict.fromkeys(names, "")) == plain


def test_the_old_keys_are_accepted_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"HOST": "db.example", "PORT": "6000", "NAME": "pool", "USER": "user", "PASS": SECRET}
    accepted = found(monkeypatch, {f"CHEROKEE_DB_{key}": value for key, value in old.items()})
    assert accepted.pool_address == "postgresql://user@db.example:6000/pool"
    assert accepted.pool_password is not None
    assert accepted.pool_password.get_secret_value() == SECRET
    assert SECRET not in repr(accepted)


@pytest.mark.parametrize("name", ["PAIRING_POOL_PASSWORD_FILE", "CHEROKEE_DB_PASS_FILE"])
def test_a_file_holds_the_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    password = found(monkeypatch, {name: str(file)}).pool_password
    assert password is not None
    assert password.get_secret_value() == SECRET


@pytest.mark.parametrize(
    "url",
    ["", "postgresql://user@host:5432/name", "postgresql+psycopg2:///name", "sqlite:///file", "sqlite:////a/file"],
)
def test_pool_addresses(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert found(monkeypatch, {"PAIRING_POOL_URL": url}).pool_address == url


def test_what_a_worker_is_told_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRING_BROKER_URL_FILE", "/a/file")
    monkeypatch.setenv("PAIRING_POOL_PASSWORD_FILE", "/another/file")
    environment = worker_environment({"PAIRING_BROKER_URL": "redis://elsewhere"})
    assert environment["PAIRING_BROKER_URL"] == "redis://elsewhere"
    assert "PAIRING_BROKER_URL_FILE" not in environment
    assert environment["PAIRING_POOL_PASSWORD_FILE"] == "/another/file"


INJECTED = {
    "PAIRING_FLOWER_SERVICE_HOST": "10.0.0.7",
    "PAIRING_FLOWER_SERVICE_PORT": "5556",
    "PAIRING_FLOWER_SERVICE_PORT_HTTP_UI": "5556",
    "PAIRING_FLOWER_PORT": "tcp://10.0.0.7:5556",
    "PAIRING_FLOWER_PORT_5556_TCP": "tcp://10.0.0.7:5556",
    "PAIRING_FLOWER_PORT_5556_TCP_PROTO": "tcp",
    "PAIRING_FLOWER_PORT_5556_TCP_PORT": "5556",
    "PAIRING_FLOWER_PORT_5556_TCP_ADDR": "10.0.0.7",
    "PAIRING_SERVICE_HOST": "10.0.0.8",
    "PAIRING_PORT": "udp://10.0.0.8:53",
    "CHEROKEE_DB_PORT": "tcp://10.0.0.9:5432",
}
"""What Kubernetes gives a container beside Services `pairing-flower`, `pairing` and `cherokee-db`."""


def test_what_kubernetes_injects_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    injected = found(monkeypatch, INJECTED)
    settings.cache_clear()
    for name in INJECTED:
        monkeypatch.delenv(name)
    assert injected == found(monkeypatch, {})


def test_no_setting_is_taken_for_injected() -> None:
    names = [name for names in variables().values() for name in names]
    assert not any(is_injected(name, "5432") for name in names)
    assert found_wrong({"PAIRING_FLOWER_SERVICE": "x"}) == found_wrong({"PAIRING_FLOWER_PORTS": "tcp://x"}) == [UNKNOWN]


def found_wrong(environment: dict[str, str]) -> list[str]:
    return [complaint.code for complaint in of_names(variables(), environment)]


SENTINELS = f"redis+sentinel://user:{SECRET}@one.example,[::1]:5000/the-master/4?sentinel_password={SECRET}"


@pytest.mark.parametrize(
    ("url", "celery_url", "where"),
    [
        ("redis://host/4", "redis://host/4", "host:6379, database 4"),
        (f"unix://:{SECRET}@/run/r.sock?db=4", f"redis+socket://:{SECRET}@/run/r.sock?virtual_host=4", "/run/r.sock"),
        ("redis+socket:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0", "/run/r.sock, database 0"),
        (
            SENTINELS,
            f"sentinel://user:{SECRET}@one.example:26379/4;sentinel://user:{SECRET}@[::1]:5000/4",
            "the-master of the sentinels one.example:26379,::1:5000, database 4",
        ),
    ],
)
def test_addresses_of_the_broker(monkeypatch: pytest.MonkeyPatch, url: str, celery_url: str, where: str) -> None:
    address = broker(found(monkeypatch, {"PAIRING_BROKER_URL": url}).broker_address)
    assert address.celery_url == celery_url
    assert address.where.startswith(where)
    assert SECRET not in repr(address)


def test_sentinels_are_asked_with_a_password_of_their_own() -> None:
    options = broker(SENTINELS).transport_options
    assert options["master_name"] == "the-master"
    assert options["sentinel_kwargs"]["password"] == SECRET


# --- what is not


@pytest.mark.parametrize(
    ("environment", "code", "variable"),
    [
        ({"PAIRING_POOL_PASSWORD_FILE": "/nowhere"}, complaints.UNREADABLE_FILE, "PAIRING_POOL_PASSWORD_FILE"),
        ({"PAIRING_POOL_PASSWORD_FILE": os.devnull}, complaints.UNREADABLE_FILE, "PAIRING_POOL_PASSWORD_FILE"),
        ({"PAIRING_STORE_LIFETIME": SECRET}, complaints.WRONG_TYPE, "PAIRING_STORE_LIFETIME"),
        ({"CHEROKEE_DB_PORT": SECRET}, complaints.WRONG_TYPE, "CHEROKEE_DB_PORT"),
        ({"PAIRING_STORE_LIFETIME": "0"}, complaints.OUT_OF_RANGE, "PAIRING_STORE_LIFETIME"),
        ({"PAIRING_POOL_PORT": "65536"}, complaints.OUT_OF_RANGE, "PAIRING_POOL_PORT"),
        (
            {"CHEROKEE_DB_PASS": SECRET, "PAIRING_POOL_PASSWORD_FILE": __file__},
            complaints.SET_TWICE,
            "CHEROKEE_DB_PASS",
        ),
        ({"PAIRING_STOP_FILE": "/stop"}, complaints.UNKNOWN, "PAIRING_STOP_FILE"),
        ({"PAIRING_STOP_FILE_FILE": "/stop"}, complaints.UNKNOWN, "PAIRING_STOP_FILE_FILE"),
        ({"PAIRING_BROKER_URL": ""}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_BROKER_URL": "redis+sentinel://host"}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_BROKER_URL": "redis+sentinel://host,/master"}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_BROKER_URL": f"redis+sentinel://h/m?x={SECRET}"}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_BROKER_URL": "redis+socket://host/path"}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_BROKER_URL": "unix:///path?db=x"}, complaints.BROKER_URL, "PAIRING_BROKER_URL"),
        ({"PAIRING_POOL_URL": "pool.example"}, complaints.POOL_URL, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": "mysql://user@host/name"}, complaints.POOL_URL, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": "sqlite://"}, complaints.POOL_URL, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": "sqlite:///:memory:"}, complaints.POOL_URL, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": f"postgresql://u@host:{SECRET}/name"}, complaints.POOL_URL, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": f"postgresql://u:{SECRET}@h/n"}, complaints.POOL_URL_PASSWORD, "PAIRING_POOL_URL"),
        ({"PAIRING_POOL_URL": f"postgresql:///n?password={SECRET}"}, complaints.POOL_URL_PASSWORD, "PAIRING_POOL_URL"),
        (POOL, complaints.MISSING, "PAIRING_POOL_PASSWORD"),
        ({"CHEROKEE_DB_HOST": "h", "CHEROKEE_DB_PASS": SECRET}, complaints.MISSING, "PAIRING_POOL_NAME"),
    ],
    ids=str,
)
def test_what_is_wrong_has_a_code(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], code: str, variable: str
) -> None:
    assert complained(monkeypatch, environment) == [(code, variable)]


@pytest.mark.parametrize(
    ("environment", "code", "variable"),
    [
        ({"PAIRING_BROKER_CA_FILE": "/nowhere"}, complaints.UNREADABLE_FILE, "PAIRING_BROKER_CA_FILE"),
        ({"PAIRING_BROKER_CA_FILE": __file__}, complaints.ACCESS, "PAIRING_BROKER_CA_FILE"),
        (
            {"PAIRING_BROKER_URL": "rediss://host", "PAIRING_BROKER_CERTIFICATE_FILE": __file__},
            complaints.MISSING,
            "PAIRING_BROKER_KEY_FILE",
        ),
        ({"PAIRING_POOL_SSLMODE": SECRET}, complaints.ACCESS, "PAIRING_POOL_SSLMODE"),
        ({"PAIRING_POOL_SSLMODE": "verify-full"}, complaints.MISSING, "PAIRING_POOL_CA_FILE"),
        (
            {"PAIRING_POOL_SSLMODE": "require", "PAIRING_POOL_CA_FILE": __file__},
            complaints.ACCESS,
            "PAIRING_POOL_SSLMODE",
        ),
        ({"PAIRING_SIGNING_CERTIFICATE_FILE": __file__}, complaints.MISSING, "PAIRING_SIGNING_KEY_FILE"),
        ({"PAIRING_SIGNING_CERTIFICATES": __file__}, complaints.UNREADABLE_FILE, "PAIRING_SIGNING_CERTIFICATES"),
        ({"PAIRING_SIGNING_KEY_FILE": "/nowhere"}, complaints.UNREADABLE_FILE, "PAIRING_SIGNING_KEY_FILE"),
    ],
    ids=str,
)
def test_wrong_settings_of_access_have_a_code(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], code: str, variable: str
) -> None:
    assert complained(monkeypatch, environment) == [(code, variable)]


@pytest.mark.parametrize(("mode", "accepted"), [(0o600, True), (0o640, True), (0o644, False)])
def test_a_key_that_everybody_may_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int, accepted: bool
) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(mode)
    environment = {
        "PAIRING_SIGNING_KEY_FILE": str(key),
        "PAIRING_SIGNING_CERTIFICATE_FILE": str(key),
        "PAIRING_SIGNING_CERTIFICATES": str(tmp_path),
    }
    if accepted:
        assert found(monkeypatch, environment).signing_key_file == str(key)
    else:
        assert complained(monkeypatch, environment) == [(complaints.EXPOSED_KEY, "PAIRING_SIGNING_KEY_FILE")]


@pytest.mark.parametrize(
    "url",
    [
        "rediss://host?ssl_cert_reqs=none",
        "rediss://host?ssl_cert_reqs=CERT_OPTIONAL",
        "rediss://host?ssl_cert_reqs=required&ssl_cert_reqs=none",
        "rediss://host?ssl_check_hostname=false",
        "redis://host?ssl_ca_certs=/ca",
    ],
)
def test_no_address_turns_verification_off(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert complained(monkeypatch, {"PAIRING_BROKER_URL": url}) == [(complaints.BROKER_URL, "PAIRING_BROKER_URL")]


def test_a_broker_behind_tls_is_verified_by_every_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = tmp_path / "an authority & more"
    authority.touch()
    url = f"rediss://:{SECRET}@host:6380/4"
    address = found(monkeypatch, {"PAIRING_BROKER_URL": url, "PAIRING_BROKER_CA_FILE": str(authority)}).broker_address
    of_kombu = Connection(address).ssl
    assert of_kombu == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": str(authority)}
    of_celery = Celery(backend=address, set_as_current=False).backend.connparams
    assert (of_celery["ssl_cert_reqs"], of_celery["ssl_ca_certs"]) == (ssl.CERT_REQUIRED, str(authority))
    of_redis = redis.Redis.from_url(address).connection_pool.make_connection()
    assert (of_redis.cert_reqs, of_redis.ca_certs, of_redis.check_hostname) == (ssl.CERT_REQUIRED, str(authority), True)
    settings.cache_clear()
    monkeypatch.delenv("PAIRING_BROKER_CA_FILE")
    assert Connection(found(monkeypatch, {}).broker_address).ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_a_pool_with_an_authority_is_verified_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().pool_tls == {}
    settings.cache_clear()
    tls = found(monkeypatch, {"PAIRING_POOL_CA_FILE": __file__}).pool_tls
    assert tls == {"sslmode": "verify-full", "sslrootcert": __file__}


def test_a_wrong_broker_url_has_a_code_of_its_own() -> None:
    assert complaints._code("broker_url", "value_error") == complaints.BROKER_URL


def test_a_file_that_is_no_text_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    environment = {"PAIRING_POOL_PASSWORD_FILE": str(tmp_path / "secret")}
    assert complained(monkeypatch, environment) == [(complaints.UNREADABLE_FILE, "PAIRING_POOL_PASSWORD_FILE")]


def test_a_wrong_value_in_a_file_is_told_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "port").write_text(SECRET)
    environment = {"PAIRING_POOL_PORT_FILE": str(tmp_path / "port")}
    assert complained(monkeypatch, environment) == [(complaints.WRONG_TYPE, "PAIRING_POOL_PORT_FILE")]


def test_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"PAIRING_STORE_LIFETIME": "0", "PAIRING_POOL_PORT": "p", "PAIRING_POOL_URL": "p"}
    assert len(complained(monkeypatch, environment)) == 3


def test_a_mistyped_variable_is_told_its_nearest() -> None:
    known = {name for names in variables().values() for name in names if name.startswith("PAIRING_")}
    for name in known:
        for place in range(len("PAIRING_"), len(name)):
            mistyped = name[:place] + name[place + 1 :]
            if mistyped not in known:
                (complaint,) = of_names(variables(), {mistyped: "x"})
                assert complaint.code == complaints.UNKNOWN
                assert f"did you mean {name}" in complaint.text


def test_a_variable_that_is_near_none_is_told_where_all_are() -> None:
    (complaint,) = of_names(variables(), {"PAIRING_SURPRISE": "x"})
    assert "env.example" in complaint.text


# --- what is made of the table


def test_the_example_is_made_of_the_table() -> None:
    assert example.PATH.read_text(encoding="utf-8") == example.example()


def test_the_example_says_every_setting_and_sets_none() -> None:
    lines = example.PATH.read_text(encoding="utf-8").splitlines()
    assert all(not line or line.startswith("#") for line in lines)
    named = [line[1:].split("=")[0] for line in lines if line.startswith("#PAIRING_")]
    known = [names[0] for names in variables().values()]
    assert [name if name in known else name.removesuffix("_FILE") for name in named] == known


def test_the_examples_defaults_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = example.PATH.read_text(encoding="utf-8").splitlines()
    environment = dict(line[1:].split("=", 1) for line in lines if line.startswith("#PAIRING_"))
    plain = settings()
    settings.cache_clear()
    assert found(monkeypatch, environment) == plain


def test_every_code_is_documented() -> None:
    table = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    codes = {value for value in vars(complaints).values() if re.fullmatch(r"PAIRING-E\d+", str(value))}
    assert codes == set(re.findall(r"^\| `(PAIRING-E\d+)`", table, re.MULTILINE))
