"""The link's fixtures are those of delivery: the same door, the same devices."""

from tests.config_merge.delivery.conftest import dial, organization, site

__all__ = ["dial", "organization", "site"]
