"""Routes of the tenant wall's REST room, below `/api/v1/users/`."""

from core.routes import route
from tenancy.api import views

urlpatterns = [
    route("token/", views.TokenView.as_view(), name="users_token"),
    route("api-token/", views.ApiTokenListView.as_view(), name="users_api_token_list"),
    route("api-token/<pk>/", views.ApiTokenDetailView.as_view(), name="users_api_token_detail"),
    route("organization/", views.OrganizationListView.as_view(), name="users_organization_list"),
    route("organization/<pk>/", views.OrganizationDetailView.as_view(), name="users_organization_detail"),
    route("notification/", views.NotificationListView.as_view(), name="users_notification_list"),
    route("notification/<pk>/", views.NotificationDetailView.as_view(), name="users_notification_detail"),
]
