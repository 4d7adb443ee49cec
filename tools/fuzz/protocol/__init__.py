"""Broken and forbidden requests for the daemon: `python -m tools.fuzz.protocol`."""
