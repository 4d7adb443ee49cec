"""Notifications: events to an MQTT broker and to webhooks."""
