"""Broken media files for the sources: `python -m tools.fuzz.media`."""
