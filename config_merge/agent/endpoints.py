"""What the agent protocol answers, decided in one place for every server it runs under.

`decide` is pure: from a request and the facts of its device it gives the final answer, or None when a write or a
computation has to come first. `answer` does that work and decides again. Order of checks as in spec 1A.2-1A.7:
path, method, existence, key, parameters.
"""

import hmac
import json
import random
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection

from config_merge.agent import presence
from config_merge.agent.messages import POLL_HEADER, AgentRequest, AgentResponse, refusal, text
from config_merge.agent.registration import agent_of, register
from config_merge.models import ConfigRevision, Hold, Status
from config_merge.services import recompute, reports
from core.acting import acting_as
from core.crypto import digest
from core.db import uuid_parameter
from core.errors import Forbidden
from core.net import valid_address
from devices import services as inventory
from devices.link.door import TICKET_SECONDS, Door, ticket_new
from devices.models import Device

FACT_COLUMNS = (
    "d.id, d.name, d.key_digest, d.last_ip, d.management_ip, d.is_deactivated, "
    "c.id, c.status, c.checksum, c.revision_id, c.generation > c.computed_generation, o.is_active, "
    "c.hold, c.applied_checksum"
)
FACT_SOURCE = (
    "devices_device d JOIN config_merge_config c ON c.device_id = d.id "
    "JOIN tenancy_organization o ON o.id = d.organization_id"
)
FACT_KEY = "d.id"
REPORTS = ("applied", "error")
INFO_FIELDS = ("model", "os", "system")
# It spreads load and hides nothing; the system's entropy would cost a call into the kernel at every poll.
_jitter = random.Random()  # noqa: S311
_TEXT = (str, type(None))
# Only what may be an address is remembered: the limit bounds what the cache can take.
_ADDRESS_LENGTH = 45
_address = lru_cache(maxsize=16_384)(valid_address)


class Facts(NamedTuple):
    """One row: everything the hot endpoints need to know of a device."""

    device_id: UUID
    name: str
    key_digest: str
    last_ip: str | None
    management_ip: str | None
    is_deactivated: bool
    config_id: UUID
    status: str
    checksum: str
    revision_id: UUID | None
    is_stale: bool
    organization_is_active: bool
    hold: str
    applied_checksum: str

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "Facts":
        """Build the facts from a row of FACT_COLUMNS; ids and truths come as the database driver has them."""
        facts = cls._make(row)
        addresses: tuple[Any, Any] = (facts.last_ip, facts.management_ip)
        if all(isinstance(address, _TEXT) for address in addresses):
            return facts
        last_ip, management_ip = (str(address) if address else None for address in addresses)
        return facts._replace(last_ip=last_ip, management_ip=management_ip)

    @property
    def is_served(self) -> bool:
        """Whether the device may talk to us at all (spec 1A.2; spec/cattlepi_ignitenet.md B4)."""
        return (
            self.organization_is_active
            and self.status != Status.DEACTIVATED
            and self.hold not in (Hold.BLOCKED, Hold.RETIRED)
        )

    def standing_still(self, revision_id: UUID | None = None) -> "Facts":
        """Return what a suspended device is told: what it has applied is what there is.

        `revision_id` is the revision of it, where that is not the current one.
        """
        if self.checksum == self.applied_checksum:
            revision_id = self.revision_id
        return self._replace(checksum=self.applied_checksum, revision_id=revision_id, is_stale=False)


def _link_admits(row: tuple[Any, ...]) -> str | None:
    facts = Facts.of(row)
    return facts.key_digest if facts.is_served else None


# Who is served by polling is served over the link.
LINK_DOOR = Door(
    columns=FACT_COLUMNS,
    source=FACT_SOURCE,
    key=FACT_KEY,
    admits=_link_admits,
    unserved=(
        f"NOT o.is_active OR c.status = '{Status.DEACTIVATED}' "
        f"OR c.hold IN ('{Hold.BLOCKED}', '{Hold.RETIRED}')"
    ),
)


def facts_of(device_id: UUID) -> Facts | None:
    """Read the facts of a device on Django's connection (one query)."""
    sql = f"SELECT {FACT_COLUMNS} FROM {FACT_SOURCE} WHERE {FACT_KEY} = %s"  # noqa: S608 - constants
    with connection.cursor() as cursor:
        cursor.execute(sql, [uuid_parameter(device_id)])
        row = cursor.fetchone()
    return Facts.of(row) if row else None


def key_problem(request: AgentRequest, facts: Facts | None) -> AgentResponse | None:
    """Return the refusal of a device that is not there or does not know its key."""
    if facts is None or not facts.is_served:
        return text(404, "error: not found\n")
    if not request.key:
        return text(400, 'error: missing required parameter "key"\n')
    if not hmac.compare_digest(digest(request.key), facts.key_digest):
        return text(403, "error: wrong key\n")
    return None


def addresses_of(request: AgentRequest) -> tuple[str | None, str | None]:
    """Return the last and the management address a poll tells us; a malformed management address is none."""
    sent = request.fields.get("management_ip")
    if not sent:
        return request.client, None
    return request.client, (_address if len(sent) <= _ADDRESS_LENGTH else valid_address)(sent)


def addresses_stand(facts: Facts, last_ip: str | None, management_ip: str | None) -> bool:
    """Tell whether what a poll says of addresses needs no write; a last address lost to a neighbour needs none."""
    if facts.management_ip != management_ip:
        return False
    return facts.last_ip == last_ip or (
        facts.last_ip is None and presence.claims.is_fresh(facts.device_id, last_ip)
    )


def poll_hint() -> tuple[str, str]:
    """Return the header that spreads the fleet's polls: the mean interval, give or take a tenth."""
    hints = _poll_hints(settings.MUSTER.poll_seconds)
    return hints[int(_jitter.random() * len(hints))]


@lru_cache(maxsize=4)
def _poll_hints(mean: int) -> tuple[tuple[str, str], ...]:
    seconds = range(max(1, round(mean * 0.9)), max(1, round(mean * 1.1)) + 1)
    return tuple((POLL_HEADER, str(second)) for second in seconds)


def decide(request: AgentRequest, facts: Facts | None) -> AgentResponse | None:
    """Return the final answer to a checksum or download poll, or None when something has to be written first."""
    if (problem := key_problem(request, facts)) is not None:
        return problem
    assert facts is not None and request.operation is not None  # noqa: S101 - key_problem has answered these
    if not addresses_stand(facts, *addresses_of(request)):
        return None
    if facts.hold == Hold.SUSPENDED:
        if not facts.applied_checksum:
            return text(503, "error: the configuration is suspended\n", ("Retry-After", "60"))
        return _told(request, facts.standing_still())
    if facts.is_stale or facts.revision_id is None:
        return None
    return _told(request, facts)


def _told(request: AgentRequest, facts: Facts) -> AgentResponse | None:
    """Return the answer of facts that stand, None when the archive has to be loaded first."""
    assert request.operation is not None  # noqa: S101 - answered before
    etag = f'"{facts.checksum}"'
    headers = (("ETag", etag), poll_hint())
    if request.headers.get("if-none-match") in (etag, f"W/{etag}"):
        return AgentResponse(304, headers=headers)
    if request.operation.name == "checksum":
        return AgentResponse(200, facts.checksum.encode(), headers=headers)
    archive = presence.archives.get(facts.revision_id) if facts.revision_id is not None else None
    if archive is None:
        return None
    disposition = ("Content-Disposition", f"attachment; filename={facts.name}.tar.gz")
    return AgentResponse(200, archive, "application/octet-stream", (disposition, *headers))


def answer(request: AgentRequest) -> AgentResponse:
    """Answer any request of the protocol, doing what it takes."""
    if (problem := refusal(request)) is not None:
        return problem
    assert request.operation is not None  # noqa: S101 - refused above
    if request.operation.device_id is None:
        return register(request)
    facts = facts_of(request.operation.device_id)
    if (problem := key_problem(request, facts)) is not None:
        return problem
    assert facts is not None  # noqa: S101 - key_problem has answered
    presence.note(facts.device_id)
    match request.operation.name:
        case "report-status":
            return report(request, facts)
        case "update-info":
            return update_info(request, facts)
        case "link-ticket":
            return link_ticket(request.operation.device_id, facts)
    return decide(request, facts) or _poll(request, facts)


def _poll(request: AgentRequest, facts: Facts) -> AgentResponse:
    """Do what stands between a poll and its answer: note new addresses, compute, load the archive."""
    last_ip, management_ip = addresses_of(request)
    if not addresses_stand(facts, last_ip, management_ip):
        inventory.addresses_set(facts.device_id, last_ip=last_ip, management_ip=management_ip)
        presence.claims.make(facts.device_id, last_ip)
    if facts.is_stale and not facts.hold:
        recompute.recompute_one(facts.config_id)
    for _ in range(5):
        fresh = facts_of(facts.device_id)
        if fresh is None or not fresh.is_served:
            return text(404, "error: not found\n")
        if fresh.hold and fresh.applied_checksum != fresh.checksum:
            return _held(request, _settled(fresh, last_ip=last_ip, management_ip=management_ip))
        if fresh.revision_id is None:
            return text(503, "error: the configuration cannot be computed\n", ("Retry-After", "60"))
        if fresh.revision_id not in presence.archives:
            revision = ConfigRevision.objects.filter(pk=fresh.revision_id).only("artefact").first()
            if revision is not None:
                presence.archives.put(fresh.revision_id, bytes(revision.artefact))
        settled = _settled(fresh, last_ip=last_ip, management_ip=management_ip)
        if (decided := decide(request, settled)) is not None:
            return decided
    return text(503, "error: the configuration is changing, try again\n", ("Retry-After", "2"))


def _held(request: AgentRequest, facts: Facts) -> AgentResponse:
    """Answer a suspended device that has applied something else than what it should be: with just that."""
    applied = ConfigRevision.objects.filter(config_id=facts.config_id, checksum=facts.applied_checksum)
    revision = applied.only("artefact").first() if facts.applied_checksum else None
    if revision is not None:
        presence.archives.put(revision.pk, bytes(revision.artefact))
        facts = facts.standing_still(revision.pk)
        if (answered := _told(request, facts)) is not None:
            return answered
    return decide(request, facts) or text(
        503, "error: the configuration is suspended\n", ("Retry-After", "60")
    )


def _settled(facts: Facts, *, last_ip: str | None, management_ip: str | None) -> Facts:
    """Return facts that count as written and computed: a change that came meanwhile is the next poll's."""
    return facts._replace(is_stale=False, last_ip=last_ip, management_ip=management_ip)


def report_problem(request: AgentRequest) -> AgentResponse | None:
    """Return the refusal of a report that says nothing, or something a device cannot say (spec 1A.6)."""
    status = request.fields.get("status", "")
    if not status:
        return text(400, 'error: missing required parameter "status"\n')
    if status not in REPORTS:
        return text(403, "error: wrong status\n")
    return None


def report_answer(status: str) -> AgentResponse:
    """Return the answer to an accepted report."""
    return text(200, f"report-result: success\ncurrent-status: {status}\n")


def report(request: AgentRequest, facts: Facts) -> AgentResponse:
    """Take in what a device says of its configuration."""
    if (problem := report_problem(request)) is not None:
        return problem
    if facts.hold:
        # Suspended: nothing that is received is processed.
        return report_answer(facts.status)
    return report_answer(reports.take(report_of(request, facts)))


def report_of(request: AgentRequest, facts: Facts) -> reports.Report:
    """Return the report a valid request makes."""
    return reports.Report(
        config_id=facts.config_id,
        device_id=facts.device_id,
        status=request.fields["status"],
        reason=request.fields.get("error_reason", ""),
        checksum=request.fields.get("checksum", ""),
        rolled_back=request.fields.get("outcome") == "rolled_back",
        task_id=_uuid(request.fields.get("task", "")),
    )


def _uuid(text: str) -> UUID | None:
    """Return a uuid; None when the text is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def link_ticket(device_id: UUID, facts: Facts) -> AgentResponse:
    """Give a device that cannot set headers a ticket for its link (docs/link-protocol.md)."""
    ticket = ticket_new(device_id, facts.key_digest)
    return text(200, f"ticket: {ticket}\nexpires-in: {TICKET_SECONDS}\n", ("Cache-Control", "no-store"))


def update_info(request: AgentRequest, facts: Facts) -> AgentResponse:
    """Take in what a device says of its hardware and system (spec 1A.7)."""
    if facts.is_deactivated:
        return text(403, "error: device deactivated")
    if facts.hold:
        return text(200, "update-info: success")
    sent = {name: request.fields.get(name, "").strip() for name in INFO_FIELDS}
    device = Device.objects.get(pk=facts.device_id)
    try:
        with acting_as(agent_of(device.name, request)):
            inventory.device_update(device, **{name: value for name, value in sent.items() if value})
    except ValidationError as error:
        return text(400, json.dumps(error.message_dict, indent=4, sort_keys=True))
    except Forbidden:
        return text(403, "error: device deactivated")
    recompute.recompute_one(facts.config_id)
    return text(200, "update-info: success")
