"""Who may read and who may write: what the settings of TLS and of message signing must keep to."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic_core import PydanticCustomError

from config.complaints import shown

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""libpq's, from none to all; with the last two the server's certificate is verified."""

_SSL_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def is_broker_url(url: str) -> bool:
    """Whether this is an address of a Redis, and of none whose certificate would not be verified."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, an IPv6 address without its end
        return False
    return (
        sound
        and re.fullmatch(r"(/\d*)?", parts.path) is not None
        and not re.search(r"\s|[\x00-\x1f]", url)
        and not parts.fragment
        and all(parts.scheme == "rediss" and _verifies(*option) for option in _options(parts.query))
    )


def _options(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _verifies(name: str, value: str) -> bool:
    return value in ("required", "CERT_REQUIRED") if name == "ssl_cert_reqs" else name in _SSL_OPTIONS


def verified(url: str, files: Mapping[str, str]) -> str:
    """A broker's URL by which every client verifies the server; of one without TLS, itself.

    kombu takes a ``rediss://`` that does not ask for verification as one that wants none.

    Args:
        url: what the setting says.
        files: option (``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``) → path, or an empty text.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url
    given = {name: path for name, path in files.items() if path}
    return urlunsplit(
        parts._replace(query=urlencode({**dict(_options(parts.query)), **given, "ssl_cert_reqs": "required"}))
    )


def check_readable(path: str) -> str:
    """A file's or a folder's path, as it is.

    Raises:
        PydanticCustomError: it cannot be read.
    """
    try:
        if path and Path(path).is_dir():
            next(Path(path).iterdir(), None)
        elif path:
            Path(path).read_bytes()
    except OSError as error:
        text = "names {path}, which cannot be read ({reason})"
        raise PydanticCustomError("unreadable", text, {"path": shown(path), "reason": error.strerror or ""}) from None
    return path


def check_key(path: str) -> str:
    """A private key's path, as it is.

    Raises:
        PydanticCustomError: it cannot be read, or everybody can read it.
    """
    check_readable(path)
    if path and Path(path).stat().st_mode & stat.S_IROTH:
        raise PydanticCustomError(
            "exposed", "names {path}, which everybody may read; chmod 600 it", {"path": shown(path)}
        )
    return path


def check_together(found: Mapping[str, str], scheme: str) -> None:
    """Refuses settings that are of no use without others.

    Args:
        found: setting → value.
        scheme: that of the broker's URL.

    Raises:
        PydanticCustomError: one lacks another, or would have no effect.
    """
    for name in ("broker_ca_file", "broker_certificate_file", "broker_key_file"):
        if found[name] and scheme != "rediss":
            raise _contradiction(name, "is set, and the broker's address is not rediss://; nothing would be encrypted")
    _check_all_or_none(found, "broker_certificate_file", "broker_key_file")
    _check_all_or_none(found, "signing_key_file", "signing_certificate_file", "signing_certificates")
    mode, authority = found["pool_sslmode"], found["pool_ca_file"]
    if mode and mode not in SSL_MODES:
        raise _contradiction("pool_sslmode", f"is none of {', '.join(SSL_MODES)}")
    if mode.startswith("verify") and not authority:
        text = "is not set, and PAIRING_POOL_SSLMODE wants the server verified; set it too"
        raise PydanticCustomError("missing_setting", text, {"setting": "pool_ca_file"})
    if authority and mode and not mode.startswith("verify"):
        raise _contradiction("pool_sslmode", "verifies nothing, and PAIRING_POOL_CA_FILE is set; write verify-full")


def _contradiction(setting: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("access", "{text}", {"setting": setting, "text": text})


def _check_all_or_none(found: Mapping[str, str], *names: str) -> None:
    given = [name for name in names if found[name]]
    for name in names:
        if given and not found[name]:
            text = "is not set, and {other} is; set it too"
            raise PydanticCustomError(
                "missing_setting", text, {"setting": name, "other": f"PAIRING_{given[0].upper()}"}
            )
