"""A fuzzer of the control socket: nonsense, and requests that are nearly right."""
