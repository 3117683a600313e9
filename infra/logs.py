"""Logs: an event name and keys; console in a terminal, JSON elsewhere. Never a value of a person, never local variables.

Who sits at a terminal is told in plain words what happens, so that only warnings and errors are logged there unless a level is set.
"""

import logging
import sys
import traceback

import structlog

from infra.settings import Settings


def frames(error: BaseException) -> str:
    """Where an exception came from, by type and place; its text is left out, because a database's error text quotes values."""
    parts = []
    link: BaseException | None = error
    while link is not None:
        parts.append("".join(traceback.format_tb(link.__traceback__)) + f"{type(link).__module__}.{type(link).__qualname__}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nafter\n".join(parts)


def _where(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = frames(error)
    return event


def configure(settings: Settings) -> None:
    watched = sys.stderr.isatty()
    console = settings.log_format == "console" or (settings.log_format == "auto" and watched)
    level = "warning" if watched and "log_level" not in settings.model_fields_set else settings.log_level
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _where,
    ]
    final: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the one of this moment: it may have been exchanged
        cache_logger_on_first_use=False,
    )
    for noisy in ("psycopg.pool", "psycopg", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
