"""One page of keys out of many rows, at a cost that follows the page and not the rows.

An index that begins with the tenant gives each tenant's rows in order, but not those of several tenants together. So
the first rows of each are taken, which is a short walk in the index, and only these are sorted.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models.expressions import RawSQL

from core.db import is_postgresql, uuid_value

Order = Sequence[tuple[str, bool]]


def ordered(rows: models.QuerySet[Any], order: Order, *, nulls: bool = True) -> models.QuerySet[Any]:
    """Sort by `order`, each a name and whether it descends; null is less than everything, on every database.

    Without `nulls` no column has any, whatever the model says; then an index can give the order.
    """
    if not nulls:
        return rows.order_by(*(f"-{name}" if descends else name for name, descends in order))
    return rows.order_by(*(_term(rows.model, name, descends) for name, descends in order))


def _term(model: type[models.Model], name: str, descends: bool) -> Any:
    if "__" not in name and not getattr(model._meta.get_field(name), "null", False):
        return f"-{name}" if descends else name
    column = models.F(name)
    return column.desc(nulls_last=True) if descends else column.asc(nulls_first=True)


def keys_of_page(
    rows: models.QuerySet[Any],
    order: Order,
    *,
    start: int,
    stop: int,
    key: str = "pk",
    nulls: bool = True,
    tenant: str = "",
    tenants: Sequence[UUID] = (),
) -> list[UUID]:
    """Return the `key` (a unique column) of the rows from `start` to `stop`.

    With `tenants`, only the rows whose column `tenant` is one of them; `order` then names plain columns that are not
    null, and an index should give each tenant's rows in it.
    """
    if len(tenants) < 2:
        found = rows.filter(**{tenant: tenants[0]}) if tenants else rows
        return list(ordered(found, order, nulls=nulls).values_list(key, flat=True)[start:stop])
    of_each = ordered(rows.filter(**{tenant: RawSQL("tenants.id", [])}), order, nulls=False)
    meta = rows.model._meta
    columns = [meta.get_field(name).column for name, _ in order]
    if is_postgresql():
        inner, parameters = of_each.values_list(key, *(name for name, _ in order))[
            :stop
        ].query.sql_with_params()
        named = [f"c{number}" for number in range(len(columns))]
        source = (
            "SELECT page.key FROM unnest(%s::uuid[]) AS tenants(id) "  # noqa: S608
            f"CROSS JOIN LATERAL ({inner}) AS page(key, {', '.join(named)})"
        )
        given: Any = list(tenants)
        columns = [f"page.{name}" for name in named]
    else:
        inner, parameters = of_each.values_list(key, flat=True)[:stop].query.sql_with_params()
        wanted = "id" if key == "pk" else key
        source = (
            f"SELECT page.{wanted} FROM (SELECT value AS id FROM json_each(%s)) AS tenants "  # noqa: S608
            f"CROSS JOIN {meta.db_table} AS page WHERE page.{wanted} IN ({inner})"
        )
        given = json.dumps([tenant.hex for tenant in tenants])
        columns = [f"page.{name}" for name in columns]
    sorting = ", ".join(
        column + (" DESC" if descends else "") for column, (_, descends) in zip(columns, order, strict=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"{source} ORDER BY {sorting} LIMIT {int(stop - start)} OFFSET {int(start)}", [given, *parameters]
        )
        return [pk for pk in (uuid_value(row[0]) for row in cursor.fetchall()) if pk is not None]
