"""Finders of live streams: a process that runs them, and what becomes of their proposals."""
