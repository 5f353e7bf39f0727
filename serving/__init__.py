"""From a bundle to an endpoint."""
