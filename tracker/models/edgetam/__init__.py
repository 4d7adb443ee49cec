"""EdgeTAM (Zhou et al., 2025): SAM 2 over a RepViT trunk, its memories compressed."""
