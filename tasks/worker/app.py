"""The Celery app: how it is configured, and what stands in for parts of Celery and kombu."""

from __future__ import annotations

from celery import Celery

from config.settings import settings
from tasks.contracts.message_signing import serializer_of
from tasks.worker.lease_renewal import LeaseRenewal
from tasks.worker.upstream.stop_file import StopFile
from tasks.worker.upstream.transport import use as use_our_transport

use_our_transport()
serializer_of(settings())
app = Celery("pairing")
app.config_from_object("config.celeryconfig")
app.steps["consumer"].add(StopFile)
app.steps["consumer"].add(LeaseRenewal)
