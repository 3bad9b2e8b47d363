"""Django settings: `Environment` in Django's names, and the list of apps that make the product.

Invariant: nothing here reads the environment except through `controller.env`; debug pages are never on; the
same file serves one laptop and many machines, the environment alone choosing which.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from controller import databases, keyfile, logs, unfold
from controller.env import Environment
from controller.env_values import InvalidEnvironment

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    MUSTER = Environment.from_mapping(os.environ)
except InvalidEnvironment as error:
    raise ImproperlyConfigured(str(error)) from error
MUSTER_DEFAULT_MODE = MUSTER.default_mode

if MUSTER_DEFAULT_MODE and not (MUSTER.secret_key and MUSTER.encryption_keys):
    try:
        _generated = keyfile.load_or_create(
            directory=MUSTER.data_dir, database=MUSTER.data_dir / databases.SQLITE_NAME
        )
    except (keyfile.KeyFileError, OSError) as error:
        raise ImproperlyConfigured(str(error)) from error
    SECRET_KEY = MUSTER.secret_key or _generated.secret_key
    MUSTER_ENCRYPTION_KEYS = list(MUSTER.encryption_keys or _generated.encryption_keys)
else:
    MUSTER.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    SECRET_KEY = MUSTER.secret_key
    MUSTER_ENCRYPTION_KEYS = list(MUSTER.encryption_keys)

DEBUG = False
ALLOWED_HOSTS = list(MUSTER.hosts)

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "core.admin_site.HouseConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "axes",
    "controller",
    "core",
    "tenancy",
    "devices",
    "tracking",
    "config_merge",
    "boot.apps.BootConfigApp",
]

MIDDLEWARE = [
    "controller.metrics.MetricsMiddleware",
    "controller.logs.RequestIdMiddleware",
    "controller.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "controller.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "controller.hosts.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tenancy.sign_in.middleware.SessionNoteMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "controller.urls"
ASGI_APPLICATION = "controller.asgi.application"
WSGI_APPLICATION = "controller.wsgi.application"
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "controller" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- data
# -----------------------------------------------------------------------------------------------------------

DATABASES = {"default": databases.database(MUSTER)}
CACHES = {"default": databases.cache(MUSTER)}
CHANNEL_LAYERS = {"default": databases.channel_layer(MUSTER)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MEDIA_ROOT = MUSTER.data_dir / "media"
STATIC_URL = "/static/"
STATIC_ROOT = MUSTER.data_dir / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STORAGES = {"default": databases.file_storage(MUSTER), "staticfiles": databases.static_storage(STATIC_ROOT)}
# A fresh clone has collected nothing: whitenoise then serves each app's own files.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# --- who
# ------------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "tenancy.User"
AUTHENTICATION_BACKENDS = ["tenancy.backends.MembershipBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Axes only counts: `tenancy.sign_in.lockout` asks its handler, and nothing of it hangs in Django's authentication.
AXES_ENABLED = AXES_VERBOSE = AXES_ENABLE_ADMIN = False
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = MUSTER.lockout_failures
AXES_COOLOFF_TIME = timedelta(minutes=MUSTER.lockout_minutes)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "tenancy.sign_in.lockout.remote_address"
SILENCED_SYSTEM_CHECKS = ["axes.W002", "axes.W003"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if MUSTER.email_url else 'dummy'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_TLS, EMAIL_USE_SSL = databases.mail(
    MUSTER
)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = MUSTER.email_from

# --- what a browser is told
# -----------------------------------------------------------------------------------------

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = MUSTER.tls
SECURE_HSTS_SECONDS = 31_536_000 if MUSTER.tls else 0
CSRF_TRUSTED_ORIGINS = list(MUSTER.csrf_origins)
CSRF_FAILURE_VIEW = "controller.errors.csrf_failure"
MUSTER_TRUSTED_PROXIES = list(MUSTER.trusted_proxies)

# --- REST
# -----------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    # Bearer first: its WWW-Authenticate header is what turns an anonymous request's refusal into 401.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenancy.api.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "core.pagination.PageNumber",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": {"token": MUSTER.token_rate},
    "EXCEPTION_HANDLER": "core.problems.exception_handler",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Muster",
    "DESCRIPTION": "Controller for mixed fleets of network devices.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.openapi.finish",
    ],
    "ENUM_NAME_OVERRIDES": {
        "BatchActionEnum": "config_merge.api.jobs.BATCHES",
        "ConfigTaskStateEnum": "config_merge.models_tasks.ConfigTask.State",
        "BootConflictsEnum": "boot.api.transfer.CONFLICTS",
        "BootKeyStateEnum": "boot.api.quotas.KEY_STATES",
        "BootSourceEnum": "boot.api.configs.SOURCES",
        "BootTransferWhatEnum": "boot.api.transfer.KINDS",
        "BootTransferOutcomeEnum": "boot.api.transfer.OUTCOMES",
        "ImageUploadStateEnum": "boot.models_images.ImageUpload.State",
        "JobActionEnum": "config_merge.models_jobs.Job.Kind",
        "JobStateEnum": "config_merge.models_jobs.Job.State",
        "SourceEnum": "config_merge.api.site_serializers.SOURCES",
        "WebhookDeliveryStateEnum": "tenancy.webhook_models.WebhookDelivery.State",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False, "filter": True},
}


UNFOLD = unfold.UNFOLD

# --- language, time, logs
# ---------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING = logs.configuration(
    level=MUSTER.log_level, style=MUSTER.log_format, terminal=sys.stderr.isatty() if sys.stderr else False
)
