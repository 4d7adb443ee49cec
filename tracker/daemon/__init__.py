"""The daemon: live sources in, prompts over ZeroMQ, masks out."""
