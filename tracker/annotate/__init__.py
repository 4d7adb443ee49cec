"""Offline annotation: prompts in, a video or folder tracked, standard formats out."""
