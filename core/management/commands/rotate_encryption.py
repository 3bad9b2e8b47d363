"""Re-encrypt every stored secret under the first key of the ring.

Run it after a new key was put first in MUSTER_ENCRYPTION_KEYS; when it has finished, the old key can go.
It works in chunks, each its own transaction, so it can be killed and run again.
"""

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import connection, models, transaction

from core.crypto import rotate
from core.fields import EncryptedMixin

CHUNK = 500


def encrypted_columns(model: type[models.Model]) -> "list[models.Field[Any, Any]]":
    """Return the fields of `model` whose column holds ciphertext."""
    return [field for field in model._meta.local_fields if isinstance(field, EncryptedMixin)]


def _rotated(token: Any) -> Any:
    """Return the stored token under the first key, in the type the column has."""
    if isinstance(token, str):
        return rotate(token.encode("ascii")).decode("ascii")
    return rotate(bytes(token))


def rotate_model(model: type[models.Model]) -> int:
    """Rotate all rows of `model`; returns how many tokens were rewritten."""
    quote = connection.ops.quote_name
    primary: Any = model._meta.pk
    table, key = quote(model._meta.db_table), quote(primary.column)
    done = 0
    for field in encrypted_columns(model):
        column = quote(str(field.column))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {key} FROM {table}")  # noqa: S608
            keys = [row[0] for row in cursor.fetchall()]
        for start in range(0, len(keys), CHUNK):
            done += _rotate_chunk(table, key, column, keys[start : start + CHUNK])
    return done


def _rotate_chunk(table: str, key: str, column: str, keys: list[Any]) -> int:
    """Rotate one column of the rows with `keys`; a row changed meanwhile is left for its own writer's key."""
    marks = ", ".join(["%s"] * len(keys))
    with transaction.atomic(), connection.cursor() as cursor:
        lock = " FOR UPDATE" if connection.vendor == "postgresql" else ""
        cursor.execute(f"SELECT {key}, {column} FROM {table} WHERE {key} IN ({marks}){lock}", keys)  # noqa: S608
        rows = [(_rotated(token), primary) for primary, token in cursor.fetchall() if token]
        cursor.executemany(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", rows)  # noqa: S608
    return len(rows)


class Command(BaseCommand):
    """`manage.py rotate_encryption`."""

    help = "Re-encrypt every stored secret under the first key of MUSTER_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate every model that has encrypted columns and say how many values were rewritten."""
        total = 0
        for model in apps.get_models():
            if encrypted_columns(model) and not model._meta.proxy:
                count = rotate_model(model)
                total += count
                self.stdout.write(f"{model._meta.label}: {count}")
        self.stdout.write(self.style.SUCCESS(f"{total} values are now under the first key."))
