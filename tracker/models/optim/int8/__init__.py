"""The image trunk and its top-down fusion in 8-bit integers."""
