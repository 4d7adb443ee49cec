"""Faster equivalents of the networks' modules, and the conditions for each."""
