"""Folding events into a view without a projector."""

from collections.abc import Iterable
from typing import Any

import psycopg

from infra.projector.folding import Folding, fold_lines
from infra.projector.routing import Router
from infra.projector.tables import Table
from projections.kernel import Recorded, View


def fold_batch(view: View[Any], table: Table[Any], c: psycopg.Connection[Any], events: Iterable[Recorded]) -> None:
    """Apply events to a view as one batch; a Poisoned says where that fails."""
    fold_lines(Folding(view, table), c, Router([view]).route(events).get(view.name, []))
