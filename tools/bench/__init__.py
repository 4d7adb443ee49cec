"""Measurements that can be repeated: `python -m tools.bench --help`; README.md is the protocol."""
