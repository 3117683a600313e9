"""Why a proof, a note or a log is not accepted."""


class NotProved(Exception):
    """What was shown does not prove what it claims; the message says why."""


class Malformed(NotProved):
    """The bytes are not in the form they claim to have."""


class Unsigned(NotProved):
    """No key that is trusted has signed this, or a signature of one that is trusted is wrong."""
