"""Effects: drawings of tracked objects on the picture, one module each."""
