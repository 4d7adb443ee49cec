"""What a source may reach and read: hosts, files, formats, sizes."""
