"""Train, tune, track and serve multimodal survival and therapy-response models."""
