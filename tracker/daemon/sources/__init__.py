"""Live sources: supervised readers that open, watch and reopen each."""
