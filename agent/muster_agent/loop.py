"""The agent's life: get an identity, recover, announce the start, then turn after turn until told to stop; and
between the turns, what the link asks.

Invariant: an interrupted apply is finished or taken back before the tree is touched again.
"""

import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from muster_agent.apply import Applier, OnStep
from muster_agent.cycle import Cycle, CycleResult
from muster_agent.desk import Desk
from muster_agent.errors import AgentExit, CycleFailed, ExitCode, StopRequested
from muster_agent.hooks import Hooks
from muster_agent.install import Installer
from muster_agent.inventory import Inventory
from muster_agent.link import Link
from muster_agent.log import EventLog
from muster_agent.protocol import Identity
from muster_agent.registration import announce_start, forget_secret, obtain_identity
from muster_agent.session import Session
from muster_agent.settings import Settings
from muster_agent.state import Store
from muster_agent.tasks import Tasks
from muster_agent.transport import Transport
from muster_agent.tree import Tree
from muster_agent.waiting import Waker


def run(
    settings: Settings,
    *,
    log: EventLog,
    on_step: OnStep | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> ExitCode:
    """Live until stopped (or for one turn with `settings.once`). Returns the exit code; main thread only.

    `on_step` is told each durable step of an apply. Raises OSError when the state directory cannot be used.
    """
    waker = Waker()
    store = Store(settings.state_path, log=log)
    try:
        store.lock()
        env = {"MUSTER_AGENT_ROOT": str(settings.root), "MUSTER_AGENT_URL": settings.url}
        hooks = Hooks(settings.hooks_dir, log=log, env=env, limit=settings.timing.hook_timeout)
        with Transport(settings) as transport:
            session = Session(
                settings=settings,
                log=log,
                store=store,
                hooks=hooks,
                transport=transport,
                waker=waker,
                uniform=uniform,
            )
            return _live(session, on_step if on_step is not None else _step_logger(log))
    except AgentExit as stop:
        (log.info if stop.code == ExitCode.OK else log.error)(
            "exiting", code=int(stop.code), reason=stop.reason
        )
        return stop.code
    except StopRequested:
        log.info("stopped")
        return ExitCode.OK
    finally:
        store.unlock()
        waker.close()


def _step_logger(log: EventLog) -> OnStep:
    return lambda step: log.debug("step", step=step)


def _live(session: Session, on_step: OnStep) -> ExitCode:
    known = session.store.identity()
    if known is not None:
        session.log.conceal(known.key)
    try:
        identity = known if known is not None else obtain_identity(session)
    except CycleFailed as failure:
        session.log.warning("cycle_failed", reason=failure)
        return ExitCode.INCOMPLETE
    session = dataclasses.replace(session, settings=forget_secret(session.settings))
    tree = Tree(session.settings.root)
    applier = Applier(tree=tree, store=session.store, on_step=on_step)
    installer = Installer(session, identity=identity, tree=tree, applier=applier)
    desk = Desk(ring=session.waker.ring)
    cycle = Cycle(session, identity=identity, installer=installer, occupied=desk.occupied)
    tasks = Tasks(
        session,
        identity=identity,
        installer=installer,
        inventory=Inventory(settings=session.settings, store=session.store, tree=tree),
        desk=desk,
        on_step=on_step,
    )
    installer.recover()
    announce_start(session, identity, just_registered=known is None)
    with _linked(session, identity, desk, tasks):
        return _turns(session, cycle, tasks, announce_address=known is not None)


@contextmanager
def _linked(session: Session, identity: Identity, desk: Desk, tasks: Tasks) -> Iterator[None]:
    """Keep the link while inside, where it is wanted."""
    link = None
    if session.settings.link and not session.settings.once:
        tasks.publish()
        link = Link(session, identity=identity, desk=desk)
        link.start()
    try:
        yield
    finally:
        desk.close()
        if link is not None:
            link.stop()


def _turns(session: Session, cycle: Cycle, tasks: Tasks, *, announce_address: bool) -> ExitCode:
    """Step 10 and again. The turn right after registering does not announce the address: it was just sent."""
    while True:
        if session.waker.take_force():
            cycle.force()
        code = _one_turn(session, cycle, tasks, announce_address=announce_address)
        session.transport.reset()
        session.hooks.fire("end-of-cycle")
        if session.settings.once:
            return code
        announce_address = True
        wait = session.settings.timing.interval
        if cycle.hint is not None and session.settings.honour_poll_hint:
            wait = cycle.hint
        session.log.debug("sleeping", seconds=wait)
        tasks.publish()
        _between_turns(session, tasks, wait)


def _between_turns(session: Session, tasks: Tasks, wait: float) -> None:
    """Do the link's work until the next turn is due: after `wait` seconds, or many times that while linked."""
    begun = time.monotonic()
    rare = begun + wait * session.settings.timing.linked_polls
    was_linked = tasks.is_linked
    due = rare if was_linked else begun + wait
    while (left := min(due, tasks.due()) - time.monotonic()) > 0 or time.monotonic() < due:
        session.waker.rest(max(left, 0.0))
        if session.waker.take_poll():
            session.log.info("woken")
            return
        try:
            tasks.work()
        except OSError as failure:
            session.log.warning("task_failed", reason=failure)
            return
        if tasks.is_linked and not was_linked:
            due = rare
        elif was_linked and not tasks.is_linked:
            # A whole fleet loses its link at once when a server stops: its polls must not come at once.
            due = min(due, time.monotonic() + session.uniform(0.0, wait))
        was_linked = tasks.is_linked


def _one_turn(session: Session, cycle: Cycle, tasks: Tasks, *, announce_address: bool) -> ExitCode:
    try:
        tasks.resume()
        result = cycle.turn(announce_address=announce_address)
    except (CycleFailed, OSError) as failure:
        session.log.warning("cycle_failed", reason=failure)
        return ExitCode.INCOMPLETE
    return ExitCode.OK if result is CycleResult.IN_SYNC else ExitCode.REJECTED
