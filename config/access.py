"""Who may read and who may write: what the settings of TLS and of message signing must keep to."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from config.complaints import shown

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""libpq's, from none to all; with the last two the server's certificate is verified."""


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
