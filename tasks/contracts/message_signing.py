"""Signed messages: Celery's serializer ``auth``, JSON inside, where the settings name a key. Imported where they do."""

from __future__ import annotations

from functools import cache
from typing import Any, NoReturn

from config.complaints import SIGNING, Complaint
from config.settings import Settings
from pairing.errors import InputError, shown


def serializer_of(found: Settings) -> str:
    """What messages are written with: ``auth``, which this prepares, or ``json`` where there is no key.

    Raises:
        InputError: the key or a certificate is of no use.
    """
    if not found.signing_key_file:
        return "json"
    _prepare(found.signing_key_file, found.signing_certificate_file, found.signing_certificates)
    return "auth"


@cache
def _prepare(key: str, certificate: str, folder: str) -> None:
    """Registers the serializer, and signs and reads a message of its own: that tries all three."""
    from pathlib import Path

    from celery.exceptions import SecurityError
    from celery.security.serialization import register_auth
    from kombu.exceptions import DecodeError, EncodeError
    from kombu.serialization import dumps, loads, registry

    try:
        register_auth(Path(key).read_text("ascii"), None, Path(certificate).read_text("ascii"), folder)
        kind, encoding, signed = dumps({}, serializer="auth")  # type: ignore[no-untyped-call]
        loads(signed, kind, encoding)  # type: ignore[no-untyped-call]
    except (SecurityError, DecodeError, EncodeError, OSError, TypeError, ValueError) as error:
        text = (
            f"{key}, {certificate} and the certificates in {folder} cannot be used ({shown(error)}); they must be an"
            " RSA key without a passphrase, its certificate, and a folder of valid certificates alone, this one among"
            " them"
        )
        raise InputError(str(Complaint(SIGNING, "PAIRING_SIGNING_KEY_FILE", text))) from error
    # kombu trusts two types of content whatever is accepted. One is what is signed; what comes as the other would be
    # taken for arguments without a look at it.
    kind = "application/text"
    registry.register("nothing", None, _refuse, content_type=kind)  # type: ignore[no-untyped-call]


def _refuse(_: Any) -> NoReturn:
    raise ValueError("it is not signed")
