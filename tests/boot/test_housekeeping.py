"""What is over goes: counters of past windows, devices nobody has heard of for three months."""

from datetime import timedelta

from boot.tasks import housekeeping
from core.clock import now
from core.models import Counter
from tests import factories
from tracking import services as tracking
from tracking.models import TrackedDevice


def test_only_what_is_over_is_removed(transactional_db: None) -> None:
    org = factories.organization()
    key, _ = factories.api_key(factories.operator(org), org)
    at = now()
    for days in (0, 85, 93, 400):
        tracking.track(
            api_key_id=key.pk,
            organization_id=org.pk,
            device=f"d{days}",
            info="x",
            at=at - timedelta(days=days),
        )
    for name, minutes in (("over", -1), ("present", 1)):
        Counter.objects.create(name=name, used=1, allowed=1, expires_at=at + timedelta(minutes=minutes))
    assert housekeeping() == 3
    assert sorted(TrackedDevice.objects.values_list("device", flat=True)) == ["d0", "d85"]
    assert list(Counter.objects.values_list("name", flat=True)) == ["present"]
