"""Requests: their schemas, their validation, and the coding of patients."""
