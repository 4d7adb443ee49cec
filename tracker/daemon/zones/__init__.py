"""Zones and lines on the pictures of a stream, and the events of objects there."""
