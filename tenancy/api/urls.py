"""Routes of the tenant wall's REST room, below `/api/v1/users/`."""

from core.routes import route
from tenancy.api import api_keys, audit, memberships, people, sessions, views, webhook_views

urlpatterns = [
    route("token/", views.TokenView.as_view(), name="users_token"),
    route("api-token/", views.ApiTokenListView.as_view(), name="users_api_token_list"),
    route("api-token/<pk>/", views.ApiTokenDetailView.as_view(), name="users_api_token_detail"),
    route("api-key/", api_keys.ApiKeyListView.as_view(), name="users_api_key_list"),
    route("api-key/<pk>/", api_keys.ApiKeyDetailView.as_view(), name="users_api_key_detail"),
    route("session/", sessions.SessionListView.as_view(), name="users_session_list"),
    route("session/<pk>/", sessions.SessionDetailView.as_view(), name="users_session_detail"),
    route(
        "session/sign-out-everywhere/",
        sessions.SignOutView.as_view(),
        name="users_session_sign_out_everywhere",
    ),
    route("organization/", views.OrganizationListView.as_view(), name="users_organization_list"),
    route("organization/<pk>/", views.OrganizationDetailView.as_view(), name="users_organization_detail"),
    route("notification/", views.NotificationListView.as_view(), name="users_notification_list"),
    route("notification/<pk>/", views.NotificationDetailView.as_view(), name="users_notification_detail"),
    route("webhook/", webhook_views.WebhookListView.as_view(), name="users_webhook_list"),
    route("webhook/<pk>/", webhook_views.WebhookDetailView.as_view(), name="users_webhook_detail"),
    route(
        "webhook/<pk>/rotate-secret/",
        webhook_views.WebhookSecretView.as_view(),
        name="users_webhook_rotate_secret",
    ),
    route("webhook/<pk>/test/", webhook_views.WebhookTestView.as_view(), name="users_webhook_test"),
    route(
        "webhook/<pk>/delivery/",
        webhook_views.WebhookDeliveryListView.as_view(),
        name="users_webhook_delivery_list",
    ),
    route(
        "webhook/<pk>/delivery/<delivery>/replay/",
        webhook_views.WebhookReplayView.as_view(),
        name="users_webhook_delivery_replay",
    ),
    route("user/", people.PersonListView.as_view(), name="users_user_list"),
    route("user/<pk>/", people.PersonDetailView.as_view(), name="users_user_detail"),
    route("user/<pk>/password/", people.PersonPasswordView.as_view(), name="users_user_password"),
    route("user/<pk>/email/", people.AddressListView.as_view(), name="users_email_list"),
    route("user/<pk>/email/<int:number>/", people.AddressDetailView.as_view(), name="users_email_detail"),
    route("user/<pk>/api-token/", people.MemberTokenListView.as_view(), name="users_member_token_list"),
    route(
        "user/<pk>/api-token/<token>/",
        people.MemberTokenDetailView.as_view(),
        name="users_member_token_detail",
    ),
    route("user/password/change/", people.OwnPasswordView.as_view(), name="users_password_change"),
    route("password/reset/", people.ResetView.as_view(), name="users_password_reset"),
    route("password/reset/confirm/", people.ResetConfirmView.as_view(), name="users_password_reset_confirm"),
    route("group/", people.GroupListView.as_view(), name="users_group_list"),
    route("group/<int:number>/", people.GroupDetailView.as_view(), name="users_group_detail"),
    route("membership/", memberships.MembershipListView.as_view(), name="users_membership_list"),
    route("membership/<pk>/", memberships.MembershipDetailView.as_view(), name="users_membership_detail"),
    route("organization/<pk>/membership/", memberships.MemberListView.as_view(), name="users_member_list"),
    route(
        "organization/<pk>/membership/<membership>/",
        memberships.MemberDetailView.as_view(),
        name="users_member_detail",
    ),
    route("audit/", audit.AuditListView.as_view(), name="users_audit_list"),
    route("audit/<pk>/", audit.AuditDetailView.as_view(), name="users_audit_detail"),
]
