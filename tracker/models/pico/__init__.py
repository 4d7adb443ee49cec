"""pico: the embedded model, its configuration and weights."""
