"""Choice of a model for a machine: speeds measured on it, and what follows from them."""
