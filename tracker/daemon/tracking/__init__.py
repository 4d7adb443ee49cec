"""The thread that owns the model: scheduling, one tracker per stream, quality control."""
