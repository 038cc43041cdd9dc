"""The fleet's settings, read from the environment.

Every setting ``x`` is the variable ``PAIRING_X``; ``PAIRING_X_FILE`` names a file that holds the value instead (for
mounted secrets). An empty variable is as good as none, but for the broker's address. The keys ``CHEROKEE_DB_*`` of
existing environment files are accepted for the pool as they are. ``config/env.example`` is made of this table
(``config/example.py``).
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit

from platformdirs import user_cache_path, user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config.complaints import PREFIX, SettingsError, of_names, of_values


class _FileSource(EnvSettingsSource):
    """Reads ``NAME_FILE`` where ``NAME`` itself is not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for _, name, _ in self._extract_field_info(field, field_name):
            path = self.env_vars.get(f"{name}_file")
            if path:
                return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        return None, field_name, False


def _is_broker_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, an IPv6 address without its end
        return False
    options = (option.partition("=")[0] for option in parts.query.split("&") if option)
    return (
        sound
        and re.fullmatch(r"(/\d*)?", parts.path) is not None
        and not re.search(r"\s|[\x00-\x1f]", url)
        and not parts.fragment
        and all(option.startswith("ssl_") for option in options)
    )


class Settings(BaseSettings):
    """All settings, typed. Passwords are ``SecretStr``: they show in no log and no error text."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: broker, result backend and store",
    )
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
    pool_connections_per_minute: int = Field(
        default=20, gt=0, description="new connections to the pool's server that this host may make in a minute"
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
    log_format: Literal["text", "json"] = Field(
        default="text", description="what a line of a worker's log is: text or json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that workers log: debug, info, warning or error"
    )
    store_lifetime: int = Field(default=86_400, gt=0, description="seconds that a run's state stays in the store")
    stall_seconds: float = Field(
        default=600.0,
        gt=0,
        description="seconds without a sign of life after which a process of a worker is ended",
    )
    worker_memory_bytes: int = Field(
        default=0, ge=0, description="how much memory each process of a worker may have (Linux); 0: no limit"
    )
    visibility_timeout: int = Field(
        default=14_400, gt=0, description="seconds after which Redis hands an unfinished task out again"
    )

    @field_validator("pool_url")
    @classmethod
    def _check_pool_url(cls, url: str) -> str:
        kinds = "write postgresql://user@host:5432/name or sqlite:///file"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise PydanticCustomError("url", f"is no address; {kinds}") from None  # the text may hold a password
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
        if not _is_broker_url(url.get_secret_value()):
            raise ValueError(
                "is no address of a Redis; write redis://[[user]:password@]host[:port][/database], rediss:// for TLS,"
                " and special characters of the password in percent code (%23 for #)"
            )
        return url

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
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the files that it names."""
        return init_settings, env_settings, _FileSource(settings_cls)


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
