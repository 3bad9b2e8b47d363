from django.db import migrations, models
from django.db.models.functions import Lower

LIVING = models.Q(("is_retired", False))
NAMES = ("device_mac_unique", "device_name_unique", "device_hardware_id_unique")


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0004_link"),
    ]

    operations = [
        *(migrations.RemoveConstraint(model_name="device", name=name) for name in NAMES),
        migrations.AddField(
            model_name="device",
            name="is_retired",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Kept for its history; its name, address and hardware id are free for another.",
                verbose_name="decommissioned",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.UniqueConstraint(
                condition=LIVING,
                fields=("mac_address", "organization"),
                name="device_mac_unique",
                violation_error_message="Device with this Mac address and Organization already exists.",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.UniqueConstraint(
                Lower("name"),
                models.F("organization"),
                condition=LIVING,
                name="device_name_unique",
                violation_error_message="Device with this Name and Organization already exists.",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.UniqueConstraint(
                condition=LIVING,
                fields=("hardware_id", "organization"),
                name="device_hardware_id_unique",
                violation_error_message="Device with this Hardware id and Organization already exists.",
            ),
        ),
    ]
