"""Status, metrics, health, latencies and logs."""
