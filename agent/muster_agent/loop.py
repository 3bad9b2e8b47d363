"""The agent's life: get an identity, recover, announce the start, then turn after turn until told to stop.

Invariant: an interrupted apply is finished or taken back before the tree is touched again.
"""

import dataclasses
import random
from collections.abc import Callable

from muster_agent.apply import Applier, OnStep
from muster_agent.cycle import Cycle, CycleResult
from muster_agent.errors import AgentExit, CycleFailed, ExitCode, StopRequested
from muster_agent.hooks import Hooks
from muster_agent.log import EventLog
from muster_agent.registration import announce_start, forget_secret, obtain_identity
from muster_agent.session import Session
from muster_agent.settings import Settings
from muster_agent.state import Store
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
    cycle = Cycle(session, identity=identity, tree=tree, applier=applier)
    cycle.recover()
    announce_start(session, identity, just_registered=known is None)
    return _turns(session, cycle, announce_address=known is not None)


def _turns(session: Session, cycle: Cycle, *, announce_address: bool) -> ExitCode:
    """Step 10 and again. The turn right after registering does not announce the address: it was just sent."""
    while True:
        if session.waker.take_force():
            cycle.force()
        code = _one_turn(session, cycle, announce_address=announce_address)
        session.transport.reset()
        session.hooks.fire("end-of-cycle")
        if session.settings.once:
            return code
        announce_address = True
        wait = session.settings.timing.interval
        if cycle.hint is not None and session.settings.honour_poll_hint:
            wait = cycle.hint
        session.log.debug("sleeping", seconds=wait)
        if session.waker.sleep(wait, nudges=True):
            session.log.info("woken")


def _one_turn(session: Session, cycle: Cycle, *, announce_address: bool) -> ExitCode:
    try:
        result = cycle.turn(announce_address=announce_address)
    except (CycleFailed, OSError) as failure:
        session.log.warning("cycle_failed", reason=failure)
        return ExitCode.INCOMPLETE
    return ExitCode.OK if result is CycleResult.IN_SYNC else ExitCode.REJECTED
