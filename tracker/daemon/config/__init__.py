"""The configuration file: schema, loading, what a reload changes."""
