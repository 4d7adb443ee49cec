"""Writers of tracked masks: one module for each file format."""
