"""Django's registration of the heart."""

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class ConfigMergeConfig(AppConfig):
    """Templates, configurations, revisions, and the agent's endpoints."""

    name = "config_merge"
    verbose_name = "Configuration"

    def ready(self) -> None:
        """Register roles and subscriptions, now that models can be imported."""
        import_module("config_merge.wiring")
        listing = import_module("config_merge.listing")
        pre_migrate.connect(listing.before_migrations, sender=self)
        post_migrate.connect(listing.after_migrations, sender=self)
