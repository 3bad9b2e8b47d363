"""Django's registration of the heart."""

from importlib import import_module

from django.apps import AppConfig


class ConfigMergeConfig(AppConfig):
    """Templates, configurations, revisions, and the agent's endpoints."""

    name = "config_merge"
    verbose_name = "Configuration"

    def ready(self) -> None:
        """Register roles and subscriptions, now that models can be imported."""
        import_module("config_merge.wiring")
