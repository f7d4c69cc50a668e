"""Options of Celery's transports, by name: one that nobody reads is a slip, which passes in silence in Celery too.

As kombu 5.2 to 5.7 and py-amqp 5 have them. A later version may know more, so that an unknown one is no error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from celery_event_bridge.contract.secrets import hide_in_value

_GENERAL = frozenset(
    {
        *("max_retries", "interval_start", "interval_step", "interval_max", "connect_retries_timeout"),
        *("retry_policy", "retry_errors", "errback", "callback", "confirm_publish", "failover_strategy"),
    }
)
_VIRTUAL = _GENERAL | {"body_encoding", "deadletter_queue", "polling_interval"}
_AMQP = _GENERAL | {
    *("authentication", "channel_max", "client_properties", "connect_timeout", "frame_max", "heartbeat", "locale"),
    *("login_method", "login_response", "on_blocked", "on_open", "on_tune_ok", "on_unblocked", "read_timeout"),
    *("socket_settings", "ssl", "write_timeout", "raise_on_initial_eintr"),
}
_REDIS = _VIRTUAL | {
    *("sep", "ack_emulation", "unacked_key", "unacked_index_key", "unacked_mutex_key", "unacked_mutex_expire"),
    *("visibility_timeout", "unacked_restore_limit", "unacked_restore_interval", "unacked_restore_throttle"),
    *("fanout_prefix", "fanout_patterns", "global_keyprefix", "socket_timeout", "socket_connect_timeout"),
    *("socket_keepalive", "socket_keepalive_options", "queue_order_strategy", "max_connections"),
    *("health_check_interval", "reauth_check_interval", "retry_on_timeout", "retry_on_error", "priority_steps"),
    *("client_name", "credential_provider", "master_name", "min_other_sentinels", "sentinel_kwargs"),
    *("sentinel_fanout_compat", "result_chord_ordered", "ssl"),
}
_MONGODB = _VIRTUAL | {
    *("connect_timeout", "ssl", "ttl", "capped_queue_size", "default_hostname", "default_port", "default_database"),
    *("messages_collection", "routing_collection", "broadcast_collection", "queues_collection", "calc_queue_size"),
}
_FILESYSTEM = _VIRTUAL | {"data_folder_in", "data_folder_out", "store_processed", "processed_folder", "control_folder"}
_KNOWN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("amqp", "amqps", "pyamqp"), _AMQP),
    **dict.fromkeys(("redis", "rediss", "redis+socket", "socket", "sentinel", "valkey", "valkeys"), _REDIS),
    **dict.fromkeys(("mongodb", "mongodb+srv"), _MONGODB),
    "filesystem": _FILESYSTEM,
    "memory": _VIRTUAL,
}
IN_URL = frozenset(
    {
        *("alternates", "connect_timeout", "credential_provider", "failover_strategy", "heartbeat", "insist"),
        *("login_method", "ssl", "transport", "uri_prefix", "virtual_host"),
    }
)
"""Options that kombu takes behind the `?` of a URL, beside those of TLS; any other one is an error there."""


def unknown_options(scheme: str, options: Iterable[str]) -> Sequence[str]:
    """Return a line for each option that the transport of this scheme has none of; none for one that is not ours."""
    known = _KNOWN.get(scheme)
    return [
        f"BRIDGE_BROKER_TRANSPORT_OPTIONS: {scheme}:// has no option {hide_in_value(name)!r}"
        f"{_nearest(name, known)}; it does nothing, here and in Celery"
        for name in sorted(options)
        if known is not None and name not in known
    ]


def refuse_unknown_in_url(names: Iterable[str], known: Iterable[str] = ()) -> None:
    """Raise ValueError for an option behind the `?` that there is none of."""
    taken = {*IN_URL, *known}
    for name in names:
        if name not in taken:
            raise ValueError(f"there is no option {hide_in_value(name)}{_nearest(name, taken)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1)
    return f", did you mean {near[0]}?" if near else ""
