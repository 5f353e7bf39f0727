"""The HTTP interface: routes, documentation, errors, access."""
