"""The fleet's settings, read from the environment.

Every setting ``x`` is the variable ``PAIRING_X``; ``PAIRING_X_FILE`` names a file that holds the value instead (for
mounted secrets). An empty variable is as good as none, but for the broker's address. The keys ``CHEROKEE_DB_*`` of
existing environment files are accepted for the pool as they are. ``config/env.example`` is made of this table
(``config/example.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit

from platformdirs import user_cache_path, user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from config.access import check_key, check_readable, check_together
from config.brokers import is_broker_url, split, verified
from config.complaints import PREFIX, SettingsError, of_names, of_values, shown
from config.kubernetes import is_injected


class _VariableSource(EnvSettingsSource):
    """Reads the environment, without what an orchestrator put there."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in super()._load_env_vars().items() if not is_injected(name, value or "")}


LONGEST_DEADLINE = 10_000_000
"""Seconds that a run may take, at most."""


class _FileSource(_VariableSource):
    """Reads ``NAME_FILE`` where ``NAME`` itself is not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for _, name, _ in self._extract_field_info(field, field_name):
            path = self.env_vars.get(f"{name}_file")
            if path:
                return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        return None, field_name, False


class Settings(BaseSettings):
    """All settings, typed. Passwords are ``SecretStr``: they show in no log and no error text."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: broker, result backend and store; redis://, rediss://, redis+socket:// or"
        " redis+sentinel://",
    )
    broker_ca_file: str = Field(
        default="", description="certificate authority (PEM) of the broker behind rediss://; empty: the system's own"
    )
    broker_certificate_file: str = Field(
        default="", description="this host's certificate (PEM), where the broker asks for one"
    )
    broker_key_file: str = Field(default="", description="and its key (PEM)")
    key_prefix: str = Field(default="", description="put before every key in a shared Redis")
    pool_url: str = Field(
        default="",
        description="pool database, without a password; empty: an SQLite file per puzzle in PAIRING_DATA_DIR",
    )
    pool_password: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PAIRING_POOL_PASSWORD", "CHEROKEE_DB_PASS"),
        description="password of the pool database",
    )
    pool_host: str = Field(
        default="",
        validation_alias=AliasChoices("PAIRING_POOL_HOST", "CHEROKEE_DB_HOST"),
        description="pool database's host, used where PAIRING_POOL_URL is empty",
    )
    pool_port: int = Field(
        default=5432,
        gt=0,
        lt=65_536,
        validation_alias=AliasChoices("PAIRING_POOL_PORT", "CHEROKEE_DB_PORT"),
        description="pool database's port",
    )
    pool_name: str = Field(
        default="",
        validation_alias=AliasChoices("PAIRING_POOL_NAME", "CHEROKEE_DB_NAME"),
        description="pool database's name",
    )
    pool_user: str = Field(
        default="",
        validation_alias=AliasChoices("PAIRING_POOL_USER", "CHEROKEE_DB_USER"),
        description="pool database's user",
    )
    pool_sslmode: str = Field(
        default="",
        description="TLS to the pool's PostgreSQL: disable, allow, prefer, require, verify-ca or verify-full; empty:"
        " verify-full where PAIRING_POOL_CA_FILE is set, else as the URL says, or prefer, which verifies nothing",
    )
    pool_ca_file: str = Field(default="", description="certificate authority (PEM) of the pool's PostgreSQL")
    pool_connections_per_minute: int = Field(
        default=20, gt=0, description="new connections to the pool's server that this host may make in a minute"
    )
    history_days: int = Field(
        default=365, ge=0, description="days that ended runs stay on record in the pool database; 0: none is recorded"
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("pairing"),
        description="where SQLite pools and the spool of unstored winners live; by default the user's data folder",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("pairing"),
        description="where a host keeps copies of puzzles; by default the user's cache folder",
    )
    cache_bytes: int = Field(default=2 * 2**30, gt=0, description="how much the copies of puzzles may take")
    puzzle_bytes: int = Field(default=2**30, gt=0, description="how much one puzzle in the store may take")
    puzzles_bytes: int = Field(default=2 * 2**30, gt=0, description="how much all puzzles in the store may take")
    puzzle_roots: str = Field(
        default="",
        description="folders, joined as in PATH, below which a run may name a puzzle by its path on the worker's host",
    )
    stop_files: str = Field(
        default="", description="files, joined as in PATH: while one exists, workers take no new tasks"
    )
    flower_auth: SecretStr | None = Field(
        default=None, description="who may use Flower: user:password, more of them after commas"
    )
    flower_address: str = Field(default="127.0.0.1", description="where Flower listens")
    flower_port: int = Field(default=5556, gt=0, lt=65_536, description="and at which port")
    metrics_address: str = Field(default="127.0.0.1", description="where workers give Prometheus the fleet's numbers")
    metrics_port: int = Field(
        default=0, ge=0, lt=65_536, description="and at which port, for one worker of a host at a time; 0: nowhere"
    )
    signing_key_file: str = Field(
        default="",
        description="RSA key (PEM) that signs this host's messages; with it, workers accept signed messages alone",
    )
    signing_certificate_file: str = Field(default="", description="its certificate (PEM)")
    signing_certificates: str = Field(
        default="", description="folder of the certificates whose messages are accepted, and of nothing else"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="what a line of a worker's log is: text or json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that workers log: debug, info, warning or error"
    )
    store_lifetime: int = Field(
        default=86_400, gt=0, description="seconds that a run's state stays in the store after its deadline"
    )
    stall_seconds: float = Field(
        default=600.0, gt=0, description="seconds without a sign of life after which a process of a worker is ended"
    )
    worker_memory_bytes: int = Field(
        default=0, ge=0, description="how much memory each process of a worker may have (Linux); 0: no limit"
    )
    visibility_timeout: int = Field(
        default=14_400,
        gt=0,
        description="seconds after which an unfinished task is handed out again, even if its lease is renewed",
    )

    @field_validator("pool_url")
    @classmethod
    def _check_pool_url(cls, url: str) -> str:
        kinds = "write postgresql://user@host:5432/name or sqlite:///file"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise PydanticCustomError("url", f"is not an address; {kinds}") from None  # the text may hold a password
        if parts.password is not None or any("password" in name for name, _ in parse_qsl(parts.query)):
            raise PydanticCustomError("password_in_url", "holds a password; put it into PAIRING_POOL_PASSWORD instead")
        kind = parts.scheme.partition("+")[0]
        file = kind == "sqlite" and not host and parts.path.strip("/") not in ("", ":memory:")
        if url and not file and kind not in ("postgresql", "postgres"):
            raise PydanticCustomError("url", f"is neither PostgreSQL nor an SQLite file; {kinds}")
        return url

    @model_validator(mode="after")
    def _check_pool_host(self) -> Self:
        if self.pool_host and not self.pool_url:
            for name in ("pool_name", "pool_user", "pool_password"):
                if not getattr(self, name):
                    text = "is not set, and the pool's host is given; set it (or its _FILE) too"
                    raise PydanticCustomError("missing_setting", text, {"setting": name})
        return self

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, url: SecretStr) -> SecretStr:
        if not is_broker_url(url.get_secret_value()):
            raise ValueError(
                "is not the address of a Redis server; write redis://[[user]:password@]host[:port][/database],"
                " rediss:// for TLS, redis+socket:///path[?virtual_host=database] or"
                " redis+sentinel://host:port,host:port/master[/database],"
                " and special characters of the password in percent code (%23 for #); certificates are always verified"
            )
        return url

    @field_validator("broker_ca_file", "broker_certificate_file", "pool_ca_file", "signing_certificate_file")
    @classmethod
    def _check_readable(cls, path: str) -> str:
        return check_readable(path)

    @field_validator("signing_certificates")
    @classmethod
    def _check_folder(cls, path: str) -> str:
        if path and not Path(path).is_dir():
            raise PydanticCustomError("unreadable", "names {path}, which is not a folder", {"path": shown(path)})
        return check_readable(path)

    @field_validator("broker_key_file", "signing_key_file")
    @classmethod
    def _check_key(cls, path: str) -> str:
        return check_key(path)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        texts = {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), str)}
        check_together(texts, split(self.broker_url.get_secret_value()).scheme)
        return self

    @property
    def broker_address(self) -> str:
        """The broker's URL, password included, with what TLS needs in its query."""
        files = {
            "ssl_ca_certs": self.broker_ca_file,
            "ssl_certfile": self.broker_certificate_file,
            "ssl_keyfile": self.broker_key_file,
        }
        return verified(self.broker_url.get_secret_value(), files)

    @property
    def pool_tls(self) -> dict[str, str]:
        """libpq's options of TLS to the pool's server; empty where the URL decides."""
        mode = self.pool_sslmode or ("verify-full" if self.pool_ca_file else "")
        given = {"sslmode": mode, "sslrootcert": self.pool_ca_file}
        return {name: value for name, value in given.items() if value}

    @property
    def pool_address(self) -> str:
        """The pool's URL without a password; empty for an SQLite file per puzzle."""
        if self.pool_url or not self.pool_host:
            return self.pool_url
        return f"postgresql://{quote(self.pool_user)}@{self.pool_host}:{self.pool_port}/{quote(self.pool_name)}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the files that it names."""
        return init_settings, _VariableSource(settings_cls), _FileSource(settings_cls)


def variables() -> dict[str, list[str]]:
    """Of every setting, by its name, the variables that give it, each without its ``_FILE``."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [f"{PREFIX}{name.upper()}"]
        found[name] = [str(choice) for choice in names]
    return found


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingsError: a variable is wrong; the text names it and what is wrong with it, never its value.
    """
    complaints = of_names(variables(), os.environ)
    if complaints:
        raise SettingsError(complaints)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(of_values(error, variables(), os.environ)) from None
