"""One device that keeps a link (docs/link-protocol.md): a state machine of callbacks, without a task of its own.

It applies nothing, so it has nothing to lose and proves no contact; everything else it says is what an agent says.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any

from controller.simulation.calls import SimulatedDevice
from controller.simulation.settings import SimulationSettings
from controller.simulation.websocket import NORMAL, Ending, WebSocket

if TYPE_CHECKING:
    from controller.simulation.link_fleet import LinkFleet

AGENT = "muster-simulate/1"
CAPABILITIES = ("config.apply", "archive")
UNKNOWN_METHOD, INTERNAL_ERROR, BUSY = -32601, -32603, -32010
AGAIN_SECONDS = 5.0
STOPPING, REPLACED, NOT_SERVED, SILENT = 1012, 4000, 4003, 4010
# Closed for reasons of the controller's; every other end of a link is an error of somebody's.
EXPECTED = frozenset({STOPPING, REPLACED, NOT_SERVED})
LEAST_PAUSE, FIRST_BOUND, LAST_BOUND, STEADY_SECONDS = 1.0, 2.0, 60.0, 60.0
TURN_SECONDS, UNSERVED_SECONDS, RESTART_SECONDS = 60.0, 300.0, 5.0


class Fate(Enum):
    """What becomes of every configuration a device is given."""

    APPLIES = "applied"
    FAILS = "failed"
    ROLLS_BACK = "rolled_back"
    IS_SILENT = "silent"


def fates(settings: SimulationSettings) -> Iterator[Fate]:
    """Yield each device's fate: the asked shares to within one device, evenly spread.

    >>> [fate.value for fate in fates(SimulationSettings(devices=4, secret="s", error_rate=0.5))]
    ['failed', 'applied', 'failed', 'applied']
    """
    shares = {
        Fate.FAILS: settings.error_rate,
        Fate.ROLLS_BACK: settings.rollback_rate,
        Fate.IS_SILENT: settings.silent_rate,
    }
    owed = dict.fromkeys(shares, 0.0)
    for _ in range(settings.devices):
        for fate, share in shares.items():
            owed[fate] += share
        most = max(owed, key=lambda fate: owed[fate])
        if owed[most] > 0.5 - 1e-9:
            owed[most] -= 1
            yield most
        else:
            yield Fate.APPLIES


@dataclass(slots=True)
class Work:
    """A configuration under way; `status` is empty until it has ended and is to be reported."""

    task: str
    attempt: int
    checksum: str
    began: float
    status: str = ""
    reason: str = ""


class BackOff:
    """How long to stay away after a link ended (*Closing*). State: the bound."""

    __slots__ = ("_bound",)

    def __init__(self) -> None:
        self._bound = FIRST_BOUND

    def seconds(self, ending: Ending, *, lasted: float, random: Random) -> float:
        """Return the pause before the next dial; `lasted` is for how long the link stood."""
        if lasted >= STEADY_SECONDS:
            self._bound = FIRST_BOUND
        if ending.code == STOPPING:
            return random.uniform(0, RESTART_SECONDS)
        if ending.code == NOT_SERVED or ending.status in (403, 404):
            return UNSERVED_SECONDS
        if ending.code == SILENT:
            return random.uniform(0, LEAST_PAUSE)
        bound, self._bound = self._bound, min(self._bound * 2, LAST_BOUND)
        pause = random.uniform(LEAST_PAUSE, bound)
        return TURN_SECONDS + pause if ending.code == REPLACED else max(pause, ending.retry_after)


class LinkedDevice:
    """State: the websocket if there is one, what was asked over it, the work under way."""

    __slots__ = (
        "_asked_at", "_back_off", "_fleet", "_heartbeat", "_is_asking", "_linked_at", "_refused", "_reported_at",
        "_socket", "_timer", "_was_linked", "_work", "agent", "fate", "settled",
    )  # fmt: skip

    def __init__(self, fleet: "LinkFleet", agent: SimulatedDevice, fate: Fate) -> None:
        self.agent = agent
        self.fate = fate
        # Told when a dial has led to a link or to nothing.
        self.settled: asyncio.Future[None] | None = None
        self._fleet = fleet
        self._socket: WebSocket | None = None
        self._back_off = BackOff()
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat = 0.0
        self._asked_at = 0.0
        self._is_asking = False
        self._linked_at: float | None = None
        self._was_linked = False
        self._work: Work | None = None
        self._reported_at = 0.0
        self._refused = ""

    # --- the link's life ----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def dials(self, *, host: str, prefix: str) -> WebSocket:
        """Return the websocket of a new link, for whoever connects it."""
        self._asked_at = time.perf_counter()
        path = f"{prefix}/ws/device/{self.agent.uuid}/"
        self._socket = WebSocket(self, host=host, path=path, headers={"X-Device-Key": self.agent.key})
        return self._socket

    def opened(self) -> None:
        self._fleet.recorder.answered("handshake", status=101, latency=time.perf_counter() - self._asked_at)
        work = self._work
        self._ask(
            "hello",
            {
                "protocol": 1,
                "agent": AGENT,
                "boot_id": f"{self._fleet.boot_id}-{self.agent.mac}",
                "capabilities": CAPABILITIES,
                "applied": self.agent.checksum,
                "busy": {"task": work.task, "attempt": work.attempt} if work is not None else None,
                "actual": None,
            },
        )

    def ended(self, ending: Ending) -> None:
        recorder, now = self._fleet.recorder, time.perf_counter()
        lasted = now - self._linked_at if self._linked_at is not None else 0.0
        recorder.held -= self._linked_at is not None
        self._linked_at = self._socket = None
        self._is_asking = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fleet.is_stopping:
            return
        if ending.status != 101:
            recorder.failed("handshake", f"refused with {ending.status}" if ending.status else ending.reason)
        else:
            recorder.closes[str(ending.code)] += 1
            is_ours = ending.code == SILENT and self.fate is Fate.IS_SILENT
            if ending.code not in EXPECTED and not is_ours:
                recorder.failed(
                    "handshake" if not lasted else "ping", f"{ending.code} {ending.reason}".strip()
                )
        self._settle()
        self._fleet.again(self, self._back_off.seconds(ending, lasted=lasted, random=self._fleet.random))

    def _settle(self) -> None:
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)

    def close(self) -> None:
        """Say goodbye."""
        if self._socket is not None:
            self._socket.close(NORMAL)

    def drop(self, reason: str) -> None:
        """Give the connection up."""
        if self._socket is not None:
            self._socket.abort(reason)

    def unregistered(self) -> float:
        """Return how long to wait before registering is tried again."""
        return self._back_off.seconds(Ending(), lasted=0.0, random=self._fleet.random)

    # --- what it asks -------------------------------------------------------------------------------------------------

    def _ask(self, method: str, params: dict[str, Any]) -> None:
        """Send a request. Of each method one waits for its answer at most, so its name is its id."""
        if method != "report":
            self._asked_at, self._is_asking = time.perf_counter(), True
        self._send({"jsonrpc": "2.0", "id": method, "method": method, "params": params})

    def _send(self, frame: dict[str, Any]) -> None:
        if self._socket is not None:
            self._socket.send(json.dumps(frame, separators=(",", ":")))

    def _beat(self) -> None:
        if self._is_asking:
            self.drop("no answer for one heartbeat")
            return
        self._ask("ping", {})
        self._wait_a_beat()

    def _wait_a_beat(self) -> None:
        pause = self._heartbeat * self._fleet.random.uniform(0.9, 1.1)
        self._timer = self._fleet.loop.call_later(pause, self._beat)

    def received(self, text: bytes) -> None:
        if self._is_mute():
            return
        try:
            frame = json.loads(text)
            identifier, method = frame.get("id"), frame.get("method")
        except (ValueError, AttributeError):
            self._fleet.recorder.failed("ping", "a frame that is not a JSON object")
            return
        if method == "config.apply":
            self._apply(identifier, frame.get("params") or {})
        elif method is not None:
            if identifier is not None:
                self._refuse(identifier, UNKNOWN_METHOD, "unknown method")
        elif identifier == "report":
            self._report_answered(frame)
        elif identifier in ("hello", "ping"):
            self._answered(identifier, frame)
        else:
            self._fleet.recorder.failed("ping", f"an answer to nothing: {text[:120].decode()}")

    def _answered(self, method: str, frame: dict[str, Any]) -> None:
        self._is_asking = False
        error, latency = frame.get("error"), time.perf_counter() - self._asked_at
        self._fleet.recorder.answered(method, status=error["code"] if error else "ok", latency=latency)
        if error:
            self._fleet.recorder.failed(method, f"{error['code']} {error['message']}")
            if method == "hello":
                self.close()
            return
        if method == "hello" and self._linked_at is None:
            self._welcome(frame["result"])

    def _welcome(self, result: dict[str, Any]) -> None:
        if "heartbeat" not in result:
            return  # a close code follows, and says why
        self._linked_at = time.perf_counter()
        self._heartbeat = float(result["heartbeat"])
        self._fleet.recorder.linked(is_first=not self._was_linked)
        self._was_linked = True
        self._wait_a_beat()
        self._settle()
        if self._work is not None and self._work.status:
            self._report(self._work)

    # --- what it is asked ---------------------------------------------------------------------------------------------

    def _is_mute(self) -> bool:
        """Whether it has gone silent: it hears, and beats no more, until the controller hangs up."""
        return self.fate is Fate.IS_SILENT and self._linked_at is not None and self._timer is None

    def _apply(self, identifier: Any, params: dict[str, Any]) -> None:
        recorder, work = self._fleet.recorder, self._work
        recorder.asked += 1
        if self.fate is Fate.IS_SILENT:
            recorder.silent += 1
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        task, checksum = str(params.get("task")), str(params.get("checksum"))
        is_forced = params.get("force") is True
        if work is not None and work.task != task:
            self._refuse(identifier, BUSY, "busy", {"task": work.task})
        elif work is not None:
            work.attempt = params["attempt"]
            self._answer(identifier, {"state": "running"})
        elif checksum == self.agent.checksum and not is_forced:
            self._answer(identifier, {"state": "applied"})
        elif checksum == self._refused and not is_forced:
            self._answer(identifier, {"state": "failed", "reason": "simulated, before"})
        else:
            self._work = work = Work(task, params["attempt"], checksum, time.perf_counter())
            self._answer(identifier, {"state": "running"})
            self._begin(work, params.get("archive"))

    def _begin(self, work: Work, inline: str | None) -> None:
        if inline is None:
            self._fleet.download(self, work)
            return
        try:
            archive = base64.b64decode(inline, validate=True)
        except binascii.Error:
            archive = b""
        if hashlib.md5(archive, usedforsecurity=False).hexdigest() != work.checksum:
            self._fleet.recorder.failed("apply", "the archive's md5 is not the checksum")
            self.lacks(work, "the archive is not what was announced")
        else:
            self._fleet.after(self._fleet.apply_seconds(), self._end, work)

    def has(self, work: Work, archive: bytes) -> None:
        """It has downloaded what it was to apply, or something newer."""
        work.checksum = hashlib.md5(archive, usedforsecurity=False).hexdigest()
        self._fleet.after(self._fleet.apply_seconds(), self._end, work)

    def lacks(self, work: Work, reason: str) -> None:
        """It could not get what it was to apply."""
        work.status, work.reason = Fate.FAILS.value, reason
        self._report(work)

    def _end(self, work: Work) -> None:
        work.status = self.fate.value
        if self.fate is Fate.APPLIES:
            self.agent.checksum, self._refused = work.checksum, ""
        else:
            work.reason, self._refused = "simulated", work.checksum
        self._report(work)

    def _report(self, work: Work) -> None:
        if self._linked_at is None or work is not self._work:
            return  # it is repeated over the next link
        self._reported_at = time.perf_counter()
        self._ask(
            "report",
            {
                "task": work.task,
                "attempt": work.attempt,
                "checksum": work.checksum,
                "status": work.status,
                "reason": work.reason,
                "actual": None,
            },
        )

    def _report_answered(self, frame: dict[str, Any]) -> None:
        recorder, work, now = self._fleet.recorder, self._work, time.perf_counter()
        error = frame.get("error")
        status = error["code"] if error else "ok"
        recorder.answered("report", status=status, latency=now - self._reported_at)
        if error:
            recorder.failed("report", f"{error['code']} {error['message']}")
        if work is None:
            return
        if error and error["code"] == INTERNAL_ERROR:
            self._fleet.after(AGAIN_SECONDS, self._report, work)
            return
        self._work = None
        if not error:
            recorder.ended(work.status, seconds=now - work.began)

    def _answer(self, identifier: Any, result: dict[str, Any]) -> None:
        self._send({"jsonrpc": "2.0", "id": identifier, "result": result})

    def _refuse(self, identifier: Any, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        error = {"code": code, "message": message} | ({"data": data} if data else {})
        self._send({"jsonrpc": "2.0", "id": identifier, "error": error})
