"""Access rules of sources: hosts, files, formats, sizes."""
