"""A worker starts only where what it hooks into is there."""

from __future__ import annotations

import celery.apps.worker
import pytest
from kombu.transport import redis

from pairing.errors import PairingError
from tasks.worker.upstream.hooks import check_hooks


def test_the_installed_versions_have_every_hook() -> None:
    check_hooks()


@pytest.mark.parametrize(
    ("owner", "name", "said"),
    [
        (celery.apps.worker, "safe_say", "celery.apps.worker.safe_say is missing .* celery"),
        (redis.Channel, "_brpop_read", "kombu.transport.redis.Channel._brpop_read is missing .* kombu"),
    ],
)
def test_a_version_without_one_is_refused(owner: object, name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(owner, name)
    with pytest.raises(PairingError, match=said):
        check_hooks()
