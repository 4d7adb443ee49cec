"""Annotation projects: a source, its prompts and what was tracked, kept in a folder."""
