"""State over restarts: the list of streams, and a snapshot of each one's objects."""
