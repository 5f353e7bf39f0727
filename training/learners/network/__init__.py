"""The hazard network: model, losses and training, and its inference without torch."""
