"""`GET /boot/{id}/config`, the request that fleets make: two statements, for one of them or for a whole batch at once.

The first counts the quotas and proves the keys, the second appends to the tracks and brings the configurations. Only
who is refused costs a third, to be told why. Invariants: batches lock counters before tracks, both in one order, so
that they cannot stop each other; what is repeated because another transaction won has counted nothing yet.
"""

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, OperationalError, connection, transaction

from boot import quotas, strangers
from boot.messages import BROKEN, NOT_FOUND, BootResponse, used_up
from boot.models import DEFAULT, Operation
from config_merge.agent import presence
from core import quotas as counting
from core.clock import now
from core.crypto import decrypt
from core.db import lost_race, rows_of, time_parameter, uuid_value
from tenancy.key_rows import (
    KEY_IS_OPEN,
    KEY_SOURCE,
    Credential,
    credential_of,
    last_used,
)
from tracking.services import TABLE, Entry, append

GET = "BOOT GET"
ATTEMPTS = 3
BODY_BYTES = 8 * 1024 * 1024
_OWN_LIMIT = (
    "LEFT JOIN boot_quota q ON q.organization_id = k.organization_id "
    f"AND q.operation = '{Operation.BOOT_GET.value}'"
)
# A key's own id is the second word of its counter's name and eight characters long.
_COUNTED = ", ".join(
    f"(SELECT {column} FROM tenancy_apikey k WHERE k.key_id = SUBSTR(core_counter.name, 7, 8))"  # noqa: S608 - constants
    for column in (
        "k.digest",
        "CASE WHEN k.is_imported THEN '' ELSE k.key_id END",
        "k.id",
        "k.organization_id",
    )
)
# A device's own configuration, else its key's default.
_BODY = "COALESCE({})".format(
    ", ".join(
        f"(SELECT b.body FROM boot_bootconfig b WHERE b.api_key_id = {TABLE}.api_key_id AND b.device = {device})"  # noqa: S608
        for device in (f"{TABLE}.device", f"'{DEFAULT}'")
    )
)
_DEVICE = (
    f"(SELECT d.id FROM devices_device d WHERE {TABLE}.mac_address <> '' "  # noqa: S608 - constants
    f"AND d.organization_id = {TABLE}.organization_id AND d.mac_address IN ({TABLE}.mac_address, "
    f"UPPER({TABLE}.mac_address), REPLACE({TABLE}.mac_address, ':', '-'), "
    f"UPPER(REPLACE({TABLE}.mac_address, ':', '-'))) AND NOT d.is_retired LIMIT 1)"
)
_SERVED = f"{TABLE}.api_key_id, {TABLE}.device, {_BODY}, {_DEVICE}"
logger = logging.getLogger(__name__)
# What stored bodies say, by their ciphertext: it changes whenever they do.
_bodies = presence.Archives(BODY_BYTES)


class Boot(NamedTuple):
    """One request: the key's text, the device that asks, and the address it asks from."""

    key: str
    device: str
    client: str | None = None


class _Admitted(NamedTuple):
    """A key, and how many of its requests its quota allows."""

    api_key_id: UUID
    organization_id: UUID
    granted: int


def answer_all(boots: Sequence[Boot]) -> list[BootResponse]:
    """Answer requests in one transaction, each as if it had come alone, those of one key in their order."""
    at = now()
    asked: dict[Credential, list[int]] = {}
    for place, boot in enumerate(boots):
        asked.setdefault(credential_of(boot.key), []).append(place)
    wanted = {credential: len(places) for credential, places in sorted(asked.items())}
    elsewhere = None if counting.in_database() else _taken_elsewhere(wanted, at)
    answers, keys = _served_at_last(boots, asked, wanted, elsewhere, at)
    note_used([key.api_key_id for key in keys.values()])
    refused = [place for place, found in enumerate(answers) if found is None]
    if refused:
        known = (
            set(elsewhere) if elsewhere is not None else _known((boots[place].key for place in refused), at)
        )
        for place in refused:
            answers[place] = _refusal(boots[place], known, at)
    return [answer for answer in answers if answer is not None]


def _served_at_last(
    boots: Sequence[Boot],
    asked: Mapping[Credential, Sequence[int]],
    wanted: Mapping[Credential, int],
    elsewhere: Mapping[Credential, _Admitted] | None,
    at: datetime,
) -> tuple[list[BootResponse | None], Mapping[Credential, _Admitted]]:
    """Return the answers to those who are admitted, and their keys; `elsewhere` has been counted already."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                keys = _taken(wanted, at) if elsewhere is None else elsewhere
                return _served(boots, asked, keys, at), keys
        except OperationalError as error:
            if attempt == ATTEMPTS or not lost_race(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _served(
    boots: Sequence[Boot],
    asked: Mapping[Credential, Sequence[int]],
    keys: Mapping[Credential, _Admitted],
    at: datetime,
) -> list[BootResponse | None]:
    answers: list[BootResponse | None] = [None] * len(boots)
    admitted = [
        (Entry(key.api_key_id, key.organization_id, boots[place].device, GET), place)
        for credential, key in keys.items()
        for place in asked[credential][: key.granted]
    ]
    for wave in _waves(admitted):
        entries = [wave[name][0] for name in sorted(wave)]
        for api_key_id, device, token, known in append(entries, at=at, returning=_SERVED):
            _, place = wave[_uuid(api_key_id), device]
            answers[place] = _found(token) if token else NOT_FOUND
            if known is not None:
                presence.note(_uuid(known))
    return answers


def note_used(keys: Sequence[UUID]) -> None:
    """Write down that keys are used; whoever asked has been served, so that this may fail."""
    try:
        last_used.note(keys)
    except Error:
        logger.warning("when keys were last used was not written down", exc_info=True)


def _uuid(raw: Any) -> UUID:
    """Return what raw SQL gave for the id of a row that exists."""
    value = uuid_value(raw)
    assert value is not None  # noqa: S101 - it is the id of a row
    return value


def _taken(wanted: Mapping[Credential, int], at: datetime) -> dict[Credential, _Admitted]:
    """Count the requests of keys in one statement; returns the keys that are open and have something left."""
    window = quotas.window_of(Operation.BOOT_GET, at)
    sql = counting.taking_sql(
        name="'quota/' || k.key_id || %s",
        wanted="w.column3",
        allowed="COALESCE(q.amount, %s)",
        expires="%s",
        source=(
            f"FROM {rows_of(len(wanted), 3)} AS w JOIN {KEY_SOURCE} {_OWN_LIMIT} "
            f"WHERE {KEY_IS_OPEN} AND COALESCE(q.amount, %s) > 0 ORDER BY w.column1"
        ),
        returning=f"{_COUNTED}, core_counter.granted",
    )
    standard = quotas.LIMITS[Operation.BOOT_GET].amount
    suffix, expires = (
        f"/{Operation.BOOT_GET.value}/{window.name}",
        time_parameter(window.end + counting.GRACE),
    )
    asked = [value for credential, count in wanted.items() for value in (*credential, count)]
    parameters = [suffix, standard, standard, standard, expires, *asked, time_parameter(at), standard]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    return {
        Credential(row[0], row[1]): _Admitted(_uuid(row[2]), _uuid(row[3]), row[4]) for row in rows if row[4]
    }


def _taken_elsewhere(wanted: Mapping[Credential, int], at: datetime) -> dict[Credential, _Admitted]:
    """The same where Redis counts, which no transaction waits for: the statement proves the keys.

    All that are open are returned.
    """
    sql = (
        "SELECT w.column1, w.column2, k.id, k.organization_id, k.key_id, q.amount "  # noqa: S608 - constants
        f"FROM {rows_of(len(wanted), 2)} AS w JOIN {KEY_SOURCE} {_OWN_LIMIT} WHERE {KEY_IS_OPEN}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*(word for credential in wanted for word in credential), time_parameter(at)])
        rows = cursor.fetchall()
    keys = {Credential(row[0], row[1]): row[2:] for row in rows}
    asks = [
        counting.Ask(
            quotas.item_of(Operation.BOOT_GET, amount), (name, Operation.BOOT_GET.value), wanted[credential]
        )
        for credential, (_, _, name, amount) in keys.items()
    ]
    granted = counting.windows().take_all_at(at, asks)
    return {
        credential: _Admitted(_uuid(pk), _uuid(organization_id), count)
        for (credential, (pk, organization_id, _, _)), count in zip(keys.items(), granted, strict=True)
    }


def _waves(
    served: Sequence[tuple[Entry, int]],
) -> list[dict[tuple[UUID, str], tuple[Entry, int]]]:
    """Split requests so that no device comes twice in one statement; nearly always that is one."""
    waves: list[dict[tuple[UUID, str], tuple[Entry, int]]] = []
    for entry, place in served:
        name = entry.api_key_id, entry.device
        free = next((wave for wave in waves if name not in wave), None)
        if free is None:
            waves.append(free := {})
        free[name] = entry, place
    return waves


def _found(token: str) -> BootResponse:
    """Return the answer that a stored body is; one that no key of ours opens is nobody else's failure."""
    body = _bodies.get(token)
    if body is None:
        try:
            body = decrypt(token.encode("ascii"))
        except ImproperlyConfigured:
            logger.exception("a stored boot configuration cannot be read")
            return BROKEN
        _bodies.put(token, body)
    return BootResponse(200, body)


def _known(texts: Iterable[str], at: datetime) -> set[Credential]:
    """Return which of these keys are open."""
    asked = sorted(set(map(credential_of, texts)))
    sql = (
        f"SELECT w.column1, w.column2 FROM {rows_of(len(asked), 2)} AS w "  # noqa: S608 - constants
        f"JOIN {KEY_SOURCE} WHERE {KEY_IS_OPEN}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*(word for credential in asked for word in credential), time_parameter(at)])
        return {Credential(*row) for row in cursor.fetchall()}


def _refusal(boot: Boot, known: Container[Credential], at: datetime) -> BootResponse:
    """Tell why a request was not admitted."""
    if credential_of(boot.key) not in known:
        return strangers.refusal_of(boot.client)
    return used_up(quotas.window_of(Operation.BOOT_GET, at).seconds_left(at))
