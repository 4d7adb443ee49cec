"""Viewers of other programs: Foxglove and Rerun."""
