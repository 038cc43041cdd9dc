"""The fleet's settings, read from the environment.

Every setting ``x`` is the variable ``PAIRING_X``; ``PAIRING_X_FILE`` names a file that holds the value
instead (for mounted secrets). The keys ``CHEROKEE_DB_*`` of existing environment files are accepted
for the pool as they are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from platformdirs import user_cache_path, user_data_path
from pydantic import AliasChoices, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class _FileSource(EnvSettingsSource):
    """Reads ``NAME_FILE`` where ``NAME`` itself is not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for _, name, _ in self._extract_field_info(field, field_name):
            path = self.env_vars.get(f"{name}_file")
            if path:
                return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        return None, field_name, False


class Settings(BaseSettings):
    """All settings, typed. Passwords are ``SecretStr``: they show in no log and no error text."""

    model_config = SettingsConfigDict(env_prefix="PAIRING_", frozen=True, hide_input_in_errors=True)

    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: broker, result backend and store",
    )
    key_prefix: str = Field(default="", description="put before every key in a shared Redis")
    pool_url: str = Field(
        default="",
        description="pool database, without a password; empty: an SQLite file per puzzle in data_dir",
    )
    pool_password: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PAIRING_POOL_PASSWORD", "CHEROKEE_DB_PASS"),
        description="password of the pool database",
    )
    pool_host: str = Field(
        default="",
        validation_alias=AliasChoices("PAIRING_POOL_HOST", "CHEROKEE_DB_HOST"),
        description="pool database's host, used when pool_url is empty",
    )
    pool_port: int = Field(
        default=5432,
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
        description="where SQLite pools and the spool of unstored winners live",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("pairing"),
        description="where a host keeps copies of puzzles",
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


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a variable has a wrong value; the text names it, never its value.
    """
    return Settings()
