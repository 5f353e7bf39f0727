"""MLflow: runs, registry, promotion, and the store that holds them."""
