"""What every step of a run needs: settings, log, store, scripts, network, waiting and chance.

Invariant: every blocking wait and every exchange goes through here, so a stop request ends all of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from muster_agent import facts
from muster_agent.errors import AgentExit, ExitCode, TransportError
from muster_agent.hooks import Hooks
from muster_agent.log import EventLog
from muster_agent.protocol import Request, Response
from muster_agent.settings import Settings
from muster_agent.state import Store
from muster_agent.transport import Transport
from muster_agent.waiting import Waker


@dataclass(frozen=True)
class Session:
    """`uniform(low, high)` draws the random part of a wait."""

    settings: Settings
    log: EventLog
    store: Store
    hooks: Hooks
    transport: Transport
    waker: Waker
    uniform: Callable[[float, float], float]

    def send(self, request: Request, *, within: float = math.inf) -> Response:
        """One exchange. Raises TransportError, or StopRequested when asked to stop meanwhile."""
        with self.waker.interruptible():
            return self.transport.send(request, within=within)

    def try_send(self, request: Request, *, what: str, attempt: int) -> Response | None:
        """One exchange of several: None, and a log line, when it gave no answer."""
        try:
            response = self.send(request)
        except TransportError as error:
            self.log.warning("exchange_failed", what=what, attempt=attempt, error=error)
            return None
        self.log.debug("exchange", what=what, attempt=attempt, status=response.status)
        return response

    def back_off(self, span: tuple[float, float]) -> None:
        """A random wait within `span` seconds."""
        self.waker.sleep(self.uniform(*span))

    def require_controller(self, response: Response, *, what: str) -> None:
        """Raises AgentExit when an accepted answer is not a controller's (a portal, a wrong URL)."""
        if not response.is_controllers:
            message = f"the answer to {what} lacks the controller's header"
            raise AgentExit(ExitCode.NOT_A_CONTROLLER, message)

    def management_ip(self, *, patient: bool) -> str:
        """The address to announce; with `patient` an interface without one is asked three times."""
        settings = self.settings
        if settings.management_ip or not settings.management_interface:
            return settings.management_ip
        tries = settings.timing.management_ip_tries if patient else 1
        for attempt in range(tries):
            if attempt:
                self.waker.sleep(settings.timing.between_management_ip_tries())
            address = facts.interface_address(settings.management_interface)
            if address:
                return address
        self.log.warning("management_ip_unknown", interface=settings.management_interface)
        return ""
