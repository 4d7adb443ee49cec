"""Recordings of streams: read, sent again, tracked again."""
