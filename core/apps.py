"""Django's registration of the plumbing app."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Owns the heartbeat table and the encryption commands; nothing else is stored here."""

    name = "core"
    verbose_name = "Core"
