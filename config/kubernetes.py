"""Variables that nobody set: Kubernetes and Docker's links tell every container where services of its network are.

A Service ``pairing-flower`` becomes ``PAIRING_FLOWER_PORT=tcp://10.0.0.7:5556``, ``PAIRING_FLOWER_SERVICE_HOST`` and
others, which look like settings: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from __future__ import annotations

import re

_NAME = re.compile(r".+_SERVICE_(HOST|PORT(_.+)?)|.+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?", re.IGNORECASE)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def is_injected(name: str, value: str) -> bool:
    """Whether a variable is a service's address, and no setting."""
    return bool(_NAME.fullmatch(name) or (name.upper().endswith("_PORT") and _ADDRESS.match(value)))
