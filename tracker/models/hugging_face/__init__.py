"""Video networks of the transformers package, which families of models share."""
