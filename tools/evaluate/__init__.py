"""Scores a model on a DAVIS-layout folder: `python -m tools.evaluate DIR --prompt mask`."""
