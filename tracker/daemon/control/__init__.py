"""The control socket: from the bytes of a request to its reply."""
