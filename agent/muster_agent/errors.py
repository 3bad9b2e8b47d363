"""The agent's few errors, and the exit codes a supervisor sees.

Invariant: every deliberate end of the process has one code here, documented in `agent/README.md`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """2 to 5 and 0 are the OpenWrt agent's; the others are this agent's own."""

    OK = 0
    URL_MISSING = 2
    SECRET_MISSING = 3
    NOT_A_CONTROLLER = 4
    REGISTRATION_REFUSED = 5
    ALREADY_RUNNING = 6
    INCOMPLETE = 10
    REJECTED = 11
    USAGE = 64


class AgentError(Exception):
    """Base of everything the agent raises on purpose."""


class AgentExit(AgentError):
    """The process should end now, with this code."""

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StopRequested(AgentError):
    """SIGTERM or SIGINT arrived while waiting."""


class TransportError(AgentError):
    """No HTTP answer: refused, timed out, TLS failure, cut in the middle, or too large."""


class CycleFailed(AgentError):
    """This cycle cannot go on; the next one tries again. Nothing on the device was changed."""


class ConfigurationRejected(AgentError):
    """The downloaded configuration cannot be applied on this device; it is reported as an error."""
