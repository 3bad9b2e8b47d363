"""Keeps the device link: dials it, lets a Conversation talk, waits as the rules say, dials again.

Invariant: it never ends the agent. Whatever the network or the controller does, polling goes on beside it.
"""

import contextlib
import signal
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from muster_agent import __version__, facts
from muster_agent.conversation import Conversation
from muster_agent.desk import Desk
from muster_agent.link_frames import LONGEST_FRAME
from muster_agent.link_rules import Ending, Redial, retry_after
from muster_agent.log import EventLog
from muster_agent.protocol import KEY_HEADER, Identity, link_address
from muster_agent.session import Session

FRAMES_READ_AHEAD = 16
CLOSING = 1.0
# A redirect, since the socket is ours, is a ValueError: the key must not follow it.
DIAL_ERRORS = (OSError, WebSocketException, ValueError, EOFError)


class Link:
    """A thread of its own. `stop` ends it; the process need not wait for it."""

    def __init__(self, session: Session, *, identity: Identity, desk: Desk) -> None:
        timing = session.settings.timing
        self._address = link_address(base=session.settings.url, identity=identity)
        self._key = identity.key
        self._tls: ssl.SSLContext = session.transport.tls
        self._timing = timing
        self._log: EventLog = session.log
        self._uniform = session.uniform
        self._desk = desk
        self._redial = Redial(timing, uniform=session.uniform)
        self._stopping = threading.Event()
        self._conversation: Conversation | None = None
        self._thread = threading.Thread(target=self._keep, name="link", daemon=True)

    def start(self) -> None:
        """Begin to dial."""
        self._thread.start()

    def stop(self) -> None:
        """Close the link; waits a second at most."""
        self._stopping.set()
        self._desk.redial.set()
        conversation = self._conversation
        if conversation is not None:
            conversation.stop()
        self._thread.join(CLOSING)

    def _keep(self) -> None:
        # Signals are the main thread's: one that the kernel gave to this thread would not wake it.
        signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT}
        )
        while not self._stopping.is_set():
            self._desk.redial.clear()
            ending = self._one_link()
            if self._stopping.is_set():
                return
            wait = self._redial.wait_after(ending)
            self._log.info(
                "link_down",
                reason=ending.reason,
                code=ending.code or "none",
                status=ending.status or "none",
                again_in=f"{wait:.1f}",
            )
            self._rest(wait, ending)

    def _rest(self, wait: float, ending: Ending) -> None:
        """Wait for the next try: not for all of it once a configuration was applied or taken back."""
        if not ending.is_silence:
            self._stopping.wait(wait)
            return
        until = time.monotonic() + wait
        if self._desk.redial.wait(wait) and not self._stopping.is_set():
            self._stopping.wait(min(until - time.monotonic(), self._redial.begin_anew()))

    def _one_link(self) -> Ending:
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(self._dialled())
            except InvalidStatus as refusal:
                status = refusal.response.status_code
                wish = retry_after(refusal.response.headers.get("Retry-After", ""))
                return Ending(f"refused with {status}", status=status, retry_after=wish)
            except DIAL_ERRORS as error:
                return Ending(f"{type(error).__name__}: {error}")
            conversation = Conversation(
                connection,
                desk=self._desk,
                log=self._log,
                timing=self._timing,
                uniform=self._uniform,
                boot=facts.moment().boot,
            )
            self._conversation = conversation
            return conversation.run() if not self._stopping.is_set() else Ending("stopping")

    def _dialled(self) -> ClientConnection:
        return connect(
            self._address,
            sock=self._open_socket(),
            ssl=self._tls if self._address.startswith("wss:") else None,
            additional_headers={KEY_HEADER: self._key},
            user_agent_header=f"muster-agent/{__version__}",
            compression=None,
            open_timeout=self._timing.connect_timeout,
            ping_interval=None,
            close_timeout=CLOSING,
            max_size=LONGEST_FRAME,
            max_queue=FRAMES_READ_AHEAD,
        )

    def _open_socket(self) -> socket.socket:
        """Raises OSError. A peer that takes nothing for a while loses the link: no send waits longer."""
        url = urlsplit(self._address)
        port = url.port or (443 if url.scheme == "wss" else 80)
        found = socket.create_connection((url.hostname or "", port), timeout=self._timing.connect_timeout)
        found.settimeout(None)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timing.link_stall * 1000))
        return found
