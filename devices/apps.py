"""Django's registration of the inventory."""

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class DevicesConfig(AppConfig):
    """Devices, groups, fleet settings."""

    name = "devices"
    verbose_name = "Fleet"

    def ready(self) -> None:
        """Register roles and subscriptions, now that models can be imported."""
        import_module("devices.wiring")
        listing = import_module("devices.listing")
        pre_migrate.connect(listing.before_migrations, sender=self)
        post_migrate.connect(listing.after_migrations, sender=self)
