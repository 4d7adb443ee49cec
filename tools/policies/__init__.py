"""Compares which memories a session keeps: `python -m tools.policies DATA`."""
