"""Every context, view, collection and query, imported once so that the registries are full."""

import importlib
import pkgutil

import commands
import domain
import projections
import queries
from queries import listing


def load() -> None:
    """Import all modules of domain, commands, projections and queries. A feature is there because its files are."""
    for package in (domain, commands, projections, queries):
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}."):
            importlib.import_module(module.name)
    listing.check_relations()
