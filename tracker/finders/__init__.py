"""Finders: proposals of objects on a picture from words, classes, motion or nothing at all."""
