"""The sequencer as a follower of the record, with what is done once a day beside it."""

import threading

from infra.followers import Follower, Parts
from infra.proofs.daily import Daily
from infra.proofs.sequencer import Sequencer
from infra.proofs.signing import Signed, SigningKeys
from infra.settings import Settings


class LogFollower(Sequencer):
    """Builds and signs the logs; seals heads and asks for timestamps when a day has passed."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.database, signing_keys(parts.settings), signed(parts.settings), origin=parts.settings.log_origin)
        self._daily = Daily(parts)

    def run(self, stop: threading.Event) -> None:
        daily = threading.Thread(target=self._daily.run, args=(stop,), name="log-daily", daemon=True)
        daily.start()
        super().run(stop)
        daily.join(timeout=10)


def signing_keys(settings: Settings) -> SigningKeys:
    """The keys that these settings name; made when there are none."""
    return SigningKeys(settings.keys_folder, settings.signing_key)


def signed(settings: Settings) -> Signed:
    return Signed(settings.keys_folder)


def sequencer(parts: Parts) -> Sequencer:
    """The sequencer alone."""
    return Sequencer(parts.database, signing_keys(parts.settings), signed(parts.settings), origin=parts.settings.log_origin)


def follower(parts: Parts) -> Follower:
    return LogFollower(parts)
