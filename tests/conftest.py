"""What every test starts from."""

import pytest

from tenancy import webhooks


@pytest.fixture(autouse=True)
def _nobody_listens() -> None:
    """No test pays for another's second: what is remembered of webhooks is that there are none, until one is made."""
    webhooks.subscriptions.hold({}, seconds=float("inf"))
