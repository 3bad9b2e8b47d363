"""Routes of this room, below `/api/v1/boot/`."""

from boot.api import configs, deleted, images, quotas, tracks, transfer, uploads
from core.routes import route

urlpatterns = [
    route("configs/", configs.BootConfigListView.as_view(), name="boot_config_list"),
    route("configs/<pk>/", configs.BootConfigDetailView.as_view(), name="boot_config_detail"),
    route("configs/<pk>/versions/", configs.BootVersionsView.as_view(), name="boot_config_versions"),
    route("configs/<pk>/versions/<int:n>/", configs.BootVersionView.as_view(), name="boot_config_version"),
    route(
        "configs/<pk>/versions/<int:n>/diff/<int:m>/",
        configs.BootVersionDiffView.as_view(),
        name="boot_config_version_diff",
    ),
    route(
        "configs/<pk>/versions/<int:n>/restore/",
        configs.BootVersionRestoreView.as_view(),
        name="boot_config_version_restore",
    ),
    route("deleted-configs/", deleted.DeletedListView.as_view(), name="boot_deleted_list"),
    route("effective/", configs.BootEffectiveView.as_view(), name="boot_effective"),
    route("tracks/", tracks.TrackListView.as_view(), name="boot_track_list"),
    route("tracks/<pk>/", tracks.TrackDetailView.as_view(), name="boot_track_detail"),
    route("tracks/<pk>/adopt/", tracks.TrackAdoptView.as_view(), name="boot_track_adopt"),
    route("keys/", quotas.BootKeyListView.as_view(), name="boot_key_list"),
    route("keys/<pk>/quotas/", quotas.KeyQuotasView.as_view(), name="boot_key_quotas"),
    route("keys/<pk>/versions/", deleted.DeviceVersionsView.as_view(), name="boot_key_versions"),
    route("keys/<pk>/restore/", deleted.DeletedRestoreView.as_view(), name="boot_key_restore"),
    route("keys/<pk>/transfer/", transfer.TransferView.as_view(), name="boot_key_transfer"),
    route(
        "organization/<pk>/quotas/", quotas.OrganizationQuotasView.as_view(), name="boot_organization_quotas"
    ),
    route(
        "organization/<pk>/image-limits/",
        quotas.ImageLimitsView.as_view(),
        name="boot_organization_image_limits",
    ),
    route("images/", images.ImageListView.as_view(), name="boot_image_list"),
    route("images/<pk>/", images.ImageDetailView.as_view(), name="boot_image_detail"),
    route("images/<pk>/uses/", images.ImageUsesView.as_view(), name="boot_image_uses"),
    route("images/<pk>/download/", images.ImageDownloadView.as_view(), name="boot_image_download"),
    route("builds/", images.BuildListView.as_view(), name="boot_build_list"),
    route("builds/info/", images.BuildInfoView.as_view(), name="boot_build_info"),
    route("uploads/", uploads.UploadListView.as_view(), name="boot_upload_list"),
    route("uploads/<pk>/", uploads.UploadDetailView.as_view(), name="boot_upload_detail"),
    route("uploads/<pk>/finish/", uploads.UploadFinishView.as_view(), name="boot_upload_finish"),
]
