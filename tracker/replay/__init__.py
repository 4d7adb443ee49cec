"""Recordings of streams: read, exported, sent again, tracked again."""
