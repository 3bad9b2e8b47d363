"""Fetches an archive with patience, and says what came.

Invariant: nothing is believed about what came but its md5 and whether the controller marked the answer as its own.
"""

from dataclasses import dataclass, field

from muster_agent.archive import md5_of
from muster_agent.errors import CycleFailed
from muster_agent.protocol import Request
from muster_agent.session import Session


@dataclass(frozen=True)
class Download:
    """An archive. `etag` is None when the controller said that the kept one is still right."""

    data: bytes = field(repr=False)
    checksum: str
    etag: str | None
    is_controllers: bool


def download(session: Session, request: Request, *, kept: bytes | None) -> Download:
    """Try until something comes. Raises CycleFailed after as many tries as a turn has."""
    timing = session.settings.timing
    for attempt in range(1, timing.tries + 1):
        if attempt > 1:
            session.back_off(timing.backoff)
        response = session.try_send(request, what="download", attempt=attempt)
        if response is None:
            continue
        if response.status == 304 and kept is not None:
            return Download(data=kept, checksum=md5_of(kept), etag=None, is_controllers=True)
        if 200 <= response.status < 300:
            return Download(
                data=response.body,
                checksum=md5_of(response.body),
                etag=response.headers.get("etag", ""),
                is_controllers=response.is_controllers,
            )
        session.log.warning("download_refused", status=response.status)
    raise CycleFailed("no configuration from the controller")
