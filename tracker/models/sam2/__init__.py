"""SAM 2: building the official networks, and its steps as pure functions."""
