"""Workers: each owns a model and some streams, from the source to the tracked frame."""
