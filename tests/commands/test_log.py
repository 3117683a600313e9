"""What the installation says of a firm's log, at a desk."""

import pytest
from pydantic import ValidationError

from commands.log import RestartLog, RotateLogKey, SealHeads
from domain.log import HeadsSealed, KeyRotated, LogRestarted
from tests.desk import Desk

A = "log.example/firms/1+0badc0de+" + "A" * 44
B = "log.example/firms/1+0badbeef+" + "B" * 44
ROOT = "r" * 43 + "="


async def test_what_is_said_of_a_log_is_recorded_once() -> None:
    desk = Desk()
    said = [
        (RotateLogKey(old_vkey=A, new_vkey=B), KeyRotated(old_vkey=A, new_vkey=B, reason="scheduled")),
        (SealHeads(heads_root=ROOT, heads_count=2, as_of_size=9), HeadsSealed(heads_root=ROOT, heads_count=2, as_of_size=9)),
        (
            RestartLog(old_origin="a", new_origin="a/2", old_size=9, old_root=ROOT, reason="restored"),
            LogRestarted(old_origin="a", new_origin="a/2", old_size=9, old_root=ROOT, reason="restored"),
        ),
    ]
    for command, event in said:
        assert (await desk.do(command))["events"] == [event]
    for command, _ in said[1:]:
        assert (await desk.do(command))["events"] == []


def test_what_can_be_said_has_a_form() -> None:
    for wrong in ({"old_vkey": "x", "new_vkey": B}, {"old_vkey": A, "new_vkey": B, "reason": "boredom"}):
        with pytest.raises(ValidationError):
            RotateLogKey(**wrong)
    with pytest.raises(ValidationError):
        SealHeads(heads_root="short", heads_count=1, as_of_size=1)
