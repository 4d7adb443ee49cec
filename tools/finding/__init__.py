"""Measures finders on data with true masks: `python -m tools.finding everything|motion DIR ...`."""
