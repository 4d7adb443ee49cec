"""EfficientTAM (Xiong et al., 2024): SAM 2 over a plain ViT, without high-resolution features."""
