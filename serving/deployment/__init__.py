"""Servers, packed services and container images."""
