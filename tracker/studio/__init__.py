"""The studio: a web page for streams, prompts and masks; a client of daemons like any other."""
