"""The client library: talks protocol v1 to a daemon."""
