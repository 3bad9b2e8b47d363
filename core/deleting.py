"""Deleting many rows with everything that hangs on them, one statement a table however many there are.

Django's own deletion reads what it deletes and goes through it by the hundred. Signals are not sent, so a model that
somebody listens to must not come here.
"""

from collections.abc import Collection, Iterable
from typing import Any

from django.db import models
from django.db.models.deletion import get_candidate_relations_to_delete


def delete_together(model: type[models.Model], keys: Collection[Any]) -> None:
    """Delete the rows with these primary keys, what cascades from them, and empty what points to any of it.

    Raises TypeError for a relation that would have to be asked first (PROTECT, RESTRICT and the like). Call it inside
    a transaction.
    """
    if keys:
        _delete(model._base_manager.filter(pk__in=list(keys)))


def _delete(rows: models.QuerySet[Any]) -> None:
    relations: Iterable[Any] = get_candidate_relations_to_delete(rows.model._meta)
    for relation in relations:
        field = relation.field
        pointing = relation.related_model._base_manager.filter(**{f"{field.name}__in": rows})
        if relation.on_delete is models.CASCADE:
            _delete(pointing)
        elif relation.on_delete is models.SET_NULL:
            pointing.update(**{field.name: None})
        elif relation.on_delete is not models.DO_NOTHING:
            raise TypeError(f"{field} is neither deleted nor emptied with what it points to.")
    rows.order_by()._raw_delete(rows.db)
