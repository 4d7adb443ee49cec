"""Protocol v1: every message that crosses a socket, as pydantic models."""
