"""The HTTP interface: routes from the registries, problems from refusals."""
