"""What this folder takes for granted of Celery, kombu and redis-py, looked for before a worker starts.

None of it is a promise of theirs. A version that does without would not fail loudly: tasks would be lost instead.
"""

from __future__ import annotations

from importlib import import_module

from pairing.errors import PairingError

HOOKS = {
    "kombu.transport": ("TRANSPORT_ALIASES",),
    "kombu.transport.redis": (
        *("QoS.append", "QoS.ack", "QoS.reject", "QoS.restore_unacked", "QoS.restore_by_tag", "QoS.restore_visible"),
        *("QoS.unacked_key", "QoS.visibility_timeout"),
        *("Channel.unacked_key", "Channel.unacked_index_key", "Channel.conn_or_acquire", "Channel._create_client"),
        *("Channel._put", "Channel._brpop_read", "Channel._q_for_pri", "Channel.global_keyprefix"),
        *("Channel.close", "Channel._disconnect_pools", "Channel._close_clients"),
        *("SentinelChannel", "SentinelTransport.Channel", "Transport.Channel"),
    ),
    "kombu.transport.virtual": (
        *("QoS.append", "QoS.ack"),
        *("Channel._next_delivery_tag", "Channel._lookup", "Channel._get_message_priority", "Channel.close"),
    ),
    "kombu.asynchronous": ("get_event_loop", "Hub.call_later"),
    "celery.worker.state": ("should_stop", "should_terminate", "maybe_shutdown"),
    "celery.worker.worker": ("WorkController.wait_for_soft_shutdown",),
    "celery.worker.consumer": (
        *("Consumer.on_decode_error", "Consumer.on_invalid_task", "Consumer.ensure_connected"),
        *("Consumer.cancel_task_queue", "Consumer.add_task_queue"),
    ),
    "celery.apps.worker": ("safe_say",),
    "celery._state": ("get_current_task",),
    "celery.utils.log": ("get_multiprocessing_logger",),
    "redis._parsers.base": ("BaseParser.EXCEPTION_CLASSES",),
}
"""Module → what of it is replaced, called or changed, though it is no public interface."""


def check_hooks() -> None:
    """Whether everything is there.

    Raises:
        PairingError: something is not; a worker must not start.
    """
    for module, names in HOOKS.items():
        for name in names:
            found: object = import_module(module)
            for part in name.split("."):
                if not hasattr(found, part):
                    raise PairingError(
                        f"{module}.{name} is missing in the installed version of {module.partition('.')[0]}; install"
                        " the versions that constraints.txt names"
                    )
                found = getattr(found, part)
