"""Segmenters: masks from a single picture with points or boxes, one module each."""
