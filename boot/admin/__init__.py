"""Admin pages of what machines boot: configurations, images, tracks and quotas."""

from boot.admin.configs import BootConfigAdmin
from boot.admin.deleted import DeletedBootConfigAdmin
from boot.admin.images import ImageAdmin
from boot.admin.limits import ImageLimitsAdmin
from boot.admin.quotas import QuotaAdmin
from boot.admin.tracks import TrackedDeviceAdmin
from boot.admin.uploads import ImageUploadAdmin

__all__ = [
    "BootConfigAdmin",
    "DeletedBootConfigAdmin",
    "ImageAdmin",
    "ImageLimitsAdmin",
    "ImageUploadAdmin",
    "QuotaAdmin",
    "TrackedDeviceAdmin",
]
