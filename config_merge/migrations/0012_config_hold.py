from typing import Any

from django.db import migrations, models
from django.db.models import Case, OuterRef, Q, Subquery, Value, When


def copy(apps: Any, _schema_editor: Any) -> None:
    """Copy what holds a device from its place; decommissioned devices let go of their name and addresses."""
    Config, SiteDevice = (
        apps.get_model("config_merge", "Config"),
        apps.get_model("config_merge", "SiteDevice"),
    )
    held = SiteDevice.objects.filter(Q(is_suspended=True) | Q(is_blocked=True) | Q(is_retired=True))
    hold = Case(
        When(is_retired=True, then=Value("retired")),
        When(is_blocked=True, then=Value("blocked")),
        default=Value("suspended"),
        output_field=models.CharField(),
    )
    mine = held.filter(device_id=OuterRef("device_id")).annotate(hold=hold).order_by().values("hold")[:1]
    Config.objects.filter(device_id__in=held.values("device_id")).update(hold=Subquery(mine))
    retired = held.filter(is_retired=True).values("device_id")
    apps.get_model("devices", "Device").objects.filter(pk__in=retired).update(is_retired=True)


class Migration(migrations.Migration):
    dependencies = [
        ("config_merge", "0008_tasks"),
        ("devices", "0005_retired"),
    ]

    operations = [
        migrations.AddField(
            model_name="config",
            name="hold",
            field=models.CharField(
                blank=True,
                choices=[("suspended", "Suspended"), ("blocked", "Blocked"), ("retired", "Decommissioned")],
                default="",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.RunPython(copy, migrations.RunPython.noop, elidable=True),
    ]
