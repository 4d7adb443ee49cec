"""The data sockets: from tracked frames to messages for subscribers."""
