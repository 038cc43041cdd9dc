"""The broker's address: what the setting may be, and what Celery and redis-py call the same place.

A server (``redis://``, ``rediss://``), a socket of this host (``redis+socket:///path``, or redis-py's ``unix:///path``),
or whichever server the sentinels name (``redis+sentinel://host:port,host:port/master/database``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

HEALTH_CHECK_SECONDS = 25
"""A connection that nothing was said over for so long is asked whether it still is one, before it is used."""

MOST_CONNECTIONS = 10
"""Of each kind that a process may have to the broker."""

SENTINEL_PORT = 26379
SENTINEL_SECONDS = 5.0
"""How long a sentinel may take to answer."""

_SSL_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_SENTINELS = re.compile(r"(redis\+sentinel://)([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True)
class Broker:
    """An address, taken apart."""

    url: str = field(repr=False)
    """As redis-py reads it, where it is a server's."""
    where: str
    """As people say it: without user and password."""
    celery_url: str = field(repr=False)
    """As Celery and kombu read it …"""
    transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """… with these options."""
    path: str = ""
    """Of a socket."""
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    """The name under which the sentinels know the server."""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def split(url: str) -> SplitResult:
    """The same as ``urlsplit``, which in newer Pythons refuses several sentinels where one is an IPv6 address.

    Raises:
        ValueError: it is no address.
    """
    found = _OF_SENTINELS.fullmatch(url)
    return urlsplit(found[1] + found[3])._replace(netloc=found[2]) if found else urlsplit(url)


def broker(url: str) -> Broker:
    """An address as the setting has it, taken apart.

    Raises:
        ValueError: it is none; or of a server whose certificate would not be verified. The text says no more.
    """
    parts = split(url)
    if re.search(r"\s|[\x00-\x1f]", url) or parts.fragment:
        raise ValueError("holds what no address holds")
    if parts.scheme in ("redis", "rediss"):
        return _server(url)
    if parts.scheme in ("redis+socket", "unix"):
        return _socket(url)
    if parts.scheme == "redis+sentinel":
        return _sentinels(url)
    raise ValueError("is of no known kind")


def _server(url: str) -> Broker:
    parts = urlsplit(url)
    sound = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"(/\d*)?", parts.path)
    if not sound or not all(parts.scheme == "rediss" and _verifies(*option) for option in _options(parts.query)):
        raise ValueError("is of no server that would be verified")
    database = int(parts.path.strip("/") or 0)
    return Broker(
        url=url, where=f"{parts.hostname}:{parts.port or 6379}, database {database}", celery_url=url, database=database
    )


def _socket(url: str) -> Broker:
    parts = urlsplit(url)
    options = dict(_options(parts.query))
    database = options.pop("virtual_host", options.pop("db", "0"))
    if parts.hostname or len(parts.path) < 2 or options or not re.fullmatch(r"\d+", database):
        raise ValueError("is of no socket")
    given = _credentials(url)
    celery_url = f"redis+socket://{_authority(*given)}{parts.path}?virtual_host={database}"
    return Broker(
        url=url,
        where=f"{unquote(parts.path)}, database {database}",
        celery_url=celery_url,
        path=unquote(parts.path),
        database=int(database),
        username=given[0],
        password=given[1],
    )


def _sentinels(url: str) -> Broker:
    parts = split(url)
    path = re.fullmatch(r"/([\w.-]+)(?:/(\d*))?", parts.path)
    options = dict(_options(parts.query))
    if path is None or not set(options) <= set(_SENTINEL_OPTIONS):
        raise ValueError("names no master, or knows unknown options")
    hosts = tuple(_host(each) for each in parts.netloc.rpartition("@")[2].split(","))
    given, database = _credentials(url), int(path[2] or 0)
    names = ",".join(f"{host}:{port}" for host, port in hosts)
    each = [f"sentinel://{_authority(*given)}{_bracketed(host)}:{port}/{database}" for host, port in hosts]
    of_sentinels: dict[str, Any] = {_SENTINEL_OPTIONS[name]: value for name, value in options.items()}
    of_sentinels |= dict.fromkeys(("socket_timeout", "socket_connect_timeout"), SENTINEL_SECONDS)
    return Broker(
        url=url,
        where=f"{path[1]} of the sentinels {names}, database {database}",
        celery_url=";".join(each),
        transport_options={"master_name": path[1], "sentinel_kwargs": of_sentinels},
        sentinels=hosts,
        master=path[1],
        database=database,
        username=given[0],
        password=given[1],
    )


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("names no host")
    return parts.hostname, parts.port or SENTINEL_PORT


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _credentials(url: str) -> tuple[str | None, str | None]:
    text = split(url).netloc.rpartition("@")[0]
    user, _, password = text.partition(":")
    return unquote(user) or None, unquote(password) or None


def _authority(user: str | None, password: str | None) -> str:
    return f"{quote(user or '', safe='')}:{quote(password or '', safe='')}@" if user or password else ""


def _options(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _verifies(name: str, value: str) -> bool:
    return value in ("required", "CERT_REQUIRED") if name == "ssl_cert_reqs" else name in _SSL_OPTIONS


def is_broker_url(url: str) -> bool:
    """Whether this is an address of a Redis, and of none whose certificate would not be verified."""
    try:
        broker(url)
    except ValueError:  # also a port that is no number, and an IPv6 address without its end
        return False
    return True


def verified(url: str, files: Mapping[str, str]) -> str:
    """A broker's URL by which every client verifies the server; of one without TLS, itself.

    kombu takes a ``rediss://`` that does not ask for verification as one that wants none.

    Args:
        url: what the setting says.
        files: option (``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``) → path, or an empty text.
    """
    parts = split(url)
    if parts.scheme != "rediss":
        return url
    given = {name: path for name, path in files.items() if path}
    return urlunsplit(
        parts._replace(query=urlencode({**dict(_options(parts.query)), **given, "ssl_cert_reqs": "required"}))
    )
