"""ZeroMQ endpoints, and waking threads that poll sockets."""
