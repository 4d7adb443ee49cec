"""Bridges to other systems: clients of the daemon that pass its results on."""
