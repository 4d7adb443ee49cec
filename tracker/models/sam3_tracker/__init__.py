"""The click tracker of SAM 3 (Carion et al., 2025): SAM 2's tracking over a ViT with windows."""
