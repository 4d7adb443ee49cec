"""The sinks of a configuration, for people."""

from tracker.daemon.config.schema import NotifyConfig


def describe_sinks(config: NotifyConfig) -> str:
    """One line without URLs, which may hold tokens."""
    sinks = [] if config.mqtt is None else [f"MQTT broker {config.mqtt.shown}"]
    if config.webhooks:
        sinks.append(f"webhooks: {len(config.webhooks)}")
    return ", ".join(sinks) or "nobody"
