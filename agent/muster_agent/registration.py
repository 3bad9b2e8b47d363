"""How a device gets its identity and keeps its description fresh: 1A.9 steps 1 to 3.

Invariant: the identity is on disk before the shared secret is forgotten; the agent never writes the secret.
With consistent keys, losing the answer to a registration is harmless: the next one gives the same identity.
"""

import dataclasses
import os

from muster_agent import facts
from muster_agent.errors import AgentExit, CycleFailed, ExitCode
from muster_agent.files import write_atomic
from muster_agent.hooks import SECRET_VARIABLE
from muster_agent.protocol import (
    Identity,
    MalformedAnswer,
    Registered,
    Response,
    consistent_key,
    parse_registration,
    register_request,
    update_info_request,
)
from muster_agent.session import Session
from muster_agent.settings import Settings


def obtain_identity(session: Session) -> Identity:
    """Register until it succeeds, and keep the result.

    Raises AgentExit on a refusal, on an answer that is not a controller's and without a secret; CycleFailed
    after the first failure of a `--once` run.
    """
    settings = session.settings
    if not settings.secret:
        raise AgentExit(ExitCode.SECRET_MISSING, "not registered yet, and no shared secret given")
    session.log.conceal(settings.secret)
    while True:
        registered = _register_once(session)
        if registered is not None:
            session.store.save_identity(registered.identity)
            session.log.conceal(registered.identity.key)
            session.log.info(
                "registered",
                uuid=registered.identity.uuid,
                hostname=registered.identity.hostname,
                is_new=registered.is_new,
            )
            session.hooks.fire("post-registration")
            return registered.identity
        session.hooks.fire("registration-failed")
        if settings.once:
            raise CycleFailed("registration did not succeed")
        session.waker.sleep(settings.timing.between_registrations(), nudges=True)


def _register_once(session: Session) -> Registered | None:
    settings = session.settings
    key = ""
    if settings.consistent_key:
        key = consistent_key(
            mac=settings.facts.mac,
            hardware_id=settings.facts.hardware_id,
            use_hardware_id=settings.hardware_id_key,
            secret=settings.secret,
        )
        session.log.conceal(key)
    request = register_request(
        base=settings.url,
        style=settings.paths,
        facts=settings.facts,
        backend=settings.backend,
        secret=settings.secret,
        key=key,
        management_ip=session.management_ip(patient=False),
    )
    response = session.try_send(request, what="register", attempt=1)
    return None if response is None else _read_answer(session, response)


def _read_answer(session: Session, response: Response) -> Registered | None:
    answer = response.text.strip()[:300]
    if response.status >= 500 and not response.is_controllers:
        # A proxy in front of a restarting controller: wait for it rather than die.
        session.log.warning("registration_failed", status=response.status, answer=answer)
        return None
    session.require_controller(response, what="register")
    if response.status == 403:
        raise AgentExit(ExitCode.REGISTRATION_REFUSED, f"registration refused: {answer}")
    if response.status != 201:
        session.log.warning("registration_failed", status=response.status, answer=answer)
        return None
    try:
        return parse_registration(response)
    except MalformedAnswer as error:
        session.log.warning("registration_failed", status=response.status, error=error)
        return None


def forget_secret(settings: Settings) -> Settings:
    """The settings without the shared secret; its file is emptied and its variable removed."""
    path = settings.secret_file
    if path is not None and path.is_file() and path.stat().st_size:
        write_atomic(path, b"")
    os.environ.pop(SECRET_VARIABLE, None)
    return dataclasses.replace(settings, secret="")


def announce_start(session: Session, identity: Identity, *, just_registered: bool) -> None:
    """Step 3: after a boot a random delay, the hook and update-info; after a mere restart only the hook.

    The boot counts as announced once update-info was sent: an agent that was stopped before begins again.
    """
    boot = facts.boot_id()
    if not just_registered:
        if session.store.memory().boot_id == boot:
            session.hooks.fire("restart")
            return
        if not session.settings.once:
            session.waker.sleep(session.uniform(0.0, session.settings.timing.bootup_delay))
        session.hooks.fire("bootup")
        update_info(session, identity)
    memory = session.store.memory()
    if memory.boot_id != boot:
        session.store.save_memory(dataclasses.replace(memory, boot_id=boot))


def update_info(session: Session, identity: Identity) -> bool:
    """Send model, os and system. Only a missing answer is tried again; a bad one is logged."""
    settings = session.settings
    request = update_info_request(
        base=settings.url, style=settings.paths, identity=identity, facts=settings.facts
    )
    for attempt in range(1, settings.timing.update_info_tries + 1):
        if attempt > 1:
            session.waker.sleep(settings.timing.update_info_wait)
        response = session.try_send(request, what="update-info", attempt=attempt)
        if response is None:
            continue
        if response.status == 200 and response.is_controllers:
            session.log.info("info_updated")
            return True
        session.log.warning("info_refused", status=response.status, answer=response.text.strip()[:300])
        return False
    return False
