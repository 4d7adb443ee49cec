"""Fuzzers: what hostile input makes of trackd."""
