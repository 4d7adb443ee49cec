"""Recording of streams: packets and messages into segments, as many as there is room for."""
