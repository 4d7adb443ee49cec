"""Decoding: packets and bytes to upright frames with timestamps; FFmpeg's errors in words."""
