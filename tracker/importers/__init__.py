"""Readers of other programs' annotations, as prompts: one module for each file format."""
