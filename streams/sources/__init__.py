"""Sources of frames: a registry of schemes, and one module for each way to read."""
