"""CUDA graphs of the parts of a step whose shapes do not change."""
