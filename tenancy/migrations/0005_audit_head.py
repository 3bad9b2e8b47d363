"""The chain begins with the tables: a head that is missing later was removed."""

import hashlib
import hmac
import secrets

from django.db import migrations


def begin(apps, schema_editor):
    heads = apps.get_model("tenancy", "AuditHead").objects
    if not heads.exists():
        key = secrets.token_hex(32)
        anchor = hmac.new(key.encode(), b"head:0:", hashlib.sha256).hexdigest()
        heads.create(pk=1, key=key, sequence=0, seal="", anchor=anchor)


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0004_webhooks")]

    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
