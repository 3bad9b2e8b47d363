"""How pages write numbers."""

from django import template

register = template.Library()


@register.filter
def thousands(value: int) -> str:
    """Return a number with its thousands apart.

    >>> thousands(12345), thousands(7)
    ('12,345', '7')
    """
    return f"{value:,}"
