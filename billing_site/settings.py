"""Settings: the environment is read here, once, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
import structlog
from celery.schedules import crontab
from django.urls import reverse_lazy

from billing_site import embedded_postgres

# Lets ModelAdmin[Invoice] and QuerySet[Invoice] run as they are typed.
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Everything that a running installation writes outside its database: the embedded server, the file broker, keys.
VAR_DIR = Path(env.str("COUNTINGHOUSE_VAR", default=str(BASE_DIR / "var"))).resolve()
VAR_DIR.mkdir(parents=True, exist_ok=True)


def _kept_secret(name: str) -> str:
    """A random secret that is made once and kept in VAR_DIR, for installations that set none."""
    path = VAR_DIR / name
    if not path.exists():
        # Web server, worker and beat may start at once: the file appears whole, and the first one stays.
        handle, draft = tempfile.mkstemp(dir=VAR_DIR)  # readable by its owner only
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return path.read_text().strip()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _kept_secret("secret-key")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
ENVIRONMENT_LABEL = env.str("ENVIRONMENT_LABEL", default="")

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django_countries",
    "django_filters",
    "djmoney",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pghistory",
    "pgtrigger",
    "rest_framework",
    "apps.common",
    "apps.access",
    "apps.audit",
    "apps.billable_metrics",
    "apps.customers",
    "apps.products",
    "apps.contracts",
    "apps.usage",
    "apps.usage_imports",
    "apps.rating",
    "apps.invoices",
    "apps.closing",
    "billing_site",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "apps.common.middleware.ContentSecurityPolicyMiddleware",
    "apps.common.middleware.NulRefusalMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.common.middleware.HistoryMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "billing_site.urls"
WSGI_APPLICATION = "billing_site.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]


def _database() -> dict[str, Any]:
    """The server that DATABASE_URL names, else an embedded one that is started when it does not run yet."""
    if env.str("DATABASE_URL", default=""):
        database: dict[str, Any] = dict(env.db_url("DATABASE_URL"))
    else:
        server = embedded_postgres.ensure_running(VAR_DIR / "pg")
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "countinghouse",
            "USER": server.user,
            "HOST": str(server.host),
            "PORT": str(server.port),
        }
    database.setdefault("CONN_MAX_AGE", 60)
    database["CONN_HEALTH_CHECKS"] = True
    # Statements that ask for it are planned once for each connection; no others, however often they are run. A pooler
    # that hands out connections by transaction (PgBouncer before 1.21) knows nothing of them: turn them off there.
    only_on_request = 1_000_000_000 if env.bool("PREPARED_STATEMENTS", default=True) else None
    database.setdefault("OPTIONS", {})["prepare_threshold"] = only_on_request
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
LOGIN_URL = reverse_lazy("admin:login")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
# The language's own formats come before DATE_FORMAT and the like; these come before the language's.
FORMAT_MODULE_PATH = ["billing_site.formats"]

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
# Static files are served from the installed packages, so that no collect step stands before the first start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

SECURE_CONTENT_TYPE_NOSNIFF = True
_BEHIND_TLS_PROXY = env.bool("BEHIND_TLS_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _BEHIND_TLS_PROXY else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=_BEHIND_TLS_PROXY)
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

# --- Money -----------------------------------------------------------------------------------------------------------
CURRENCIES = ("USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "SEK", "INR", "KWD")
DEFAULT_CURRENCY = "USD"

# --- Usage events ----------------------------------------------------------------------------------------------------
EVENTS_MAX_BATCH = 10_000
EVENTS_MAX_BODY_BYTES = 32 * 1024 * 1024
EVENTS_MAX_AGE_DAYS = env.int("EVENTS_MAX_AGE_DAYS", default=1830)
EVENTS_MAX_AHEAD_HOURS = 24
EVENTS_KEEP_MONTHS: int | None = env.int("EVENTS_KEEP_MONTHS", default=None)
IMPORTS_MAX_UPLOAD_BYTES = env.int("IMPORTS_MAX_UPLOAD_MIB", default=2048) * 1024 * 1024
IMPORTS_KEEP_DAYS = env.int("IMPORTS_KEEP_DAYS", default=30)
# What may wait in one process of the ingest server until it is stored; more is asked to come again.
INGEST_MAX_WAITING = env.int("INGEST_MAX_WAITING", default=4096)
# Threads of one process that store, each with a connection: while one waits for its commit, another works.
INGEST_WRITERS = env.int("INGEST_WRITERS", default=2)
INGEST_MAX_WAITING_BYTES = 2 * EVENTS_MAX_BODY_BYTES
# What becomes of an event that is too old: "refuse", or "quarantine" for staff to decide.
EVENTS_TOO_OLD = env.str("EVENTS_TOO_OLD", default="refuse")
# How long after its period's end an issued line is watched for usage that changes.
USAGE_WATCHED_MONTHS = env.int("USAGE_WATCHED_MONTHS", default=6)
DATA_UPLOAD_MAX_MEMORY_SIZE = EVENTS_MAX_BODY_BYTES

# --- API -------------------------------------------------------------------------------------------------------------
# How many requests a minute a key may send that names no limit of its own; 0 for as many as it likes.
API_REQUESTS_PER_MINUTE = env.int("API_REQUESTS_PER_MINUTE", default=0)
# Where the processes count requests together; without it each counts those that it gets itself.
API_RATE_LIMIT_REDIS_URL = env.str("API_RATE_LIMIT_REDIS_URL", default="")
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.access.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["apps.access.api.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["apps.access.api.throttling.KeyThrottle"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "apps.common.api.NewestFirstPagination",
    "DEFAULT_PARSER_CLASSES": ["apps.common.parsing.ExactJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.common.api.problem_response",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countinghouse API",
    "DESCRIPTION": "Send usage events, set up metrics, customers and prices, estimate, read invoices back.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "Currency": [(code, code) for code in CURRENCIES],
        "PlanStatus": "apps.products.models.PlanStatus",
        "ContractStatus": "apps.contracts.models.ContractStatus",
        "InvoiceStatus": "apps.invoices.models.InvoiceStatus",
    },
}

# --- Background work -------------------------------------------------------------------------------------------------
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem"):
    _broker = VAR_DIR / "broker"
    for _folder in ("queue", "done", "control"):
        (_broker / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_broker / "queue"),
        "data_folder_out": str(_broker / "queue"),
        "processed_folder": str(_broker / "done"),
        "control_folder": str(_broker / "control"),
        # Without this the transport moves each message through the system's temporary folder.
        "store_processed": True,
        "polling_interval": 0.2,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A message that nobody took within two minutes is worth nothing: the sweepers send the next one anyway.
_SWEEP = {"expires": 120}
CELERY_BEAT_SCHEDULE = {
    "close-ended-periods": {"task": "closing.start_due_run", "schedule": 300.0, "options": _SWEEP},
    "resume-close-runs": {"task": "closing.resume_runs", "schedule": 15.0, "options": _SWEEP},
    "render-documents": {"task": "invoices.render_documents", "schedule": 20.0, "options": _SWEEP},
    "attribute-events": {"task": "usage.attribute_events", "schedule": 60.0, "options": _SWEEP},
    "fold-usage": {"task": "usage.fold_usage", "schedule": 5.0, "options": {"expires": 5}},
    "backfill-metrics": {"task": "usage.backfill_metrics", "schedule": 30.0, "options": _SWEEP},
    "mend-usage-cache": {"task": "usage.mend_cache", "schedule": crontab(hour=3, minute=17), "options": _SWEEP},
    "make-partitions": {"task": "usage.make_partitions", "schedule": 3600.0, "options": _SWEEP},
    "detach-old-partitions": {"task": "usage.detach_old_partitions", "schedule": 3600.0, "options": _SWEEP},
    "resume-imports": {"task": "usage_imports.resume_imports", "schedule": 15.0, "options": _SWEEP},
    "remove-imported-files": {"task": "usage_imports.remove_old_files", "schedule": 3600.0, "options": _SWEEP},
    "clear-delivered-messages": {
        "task": "common.clear_delivered_messages",
        "schedule": 3600.0,
        "options": _SWEEP,
    },
}

# --- Audit trail -----------------------------------------------------------------------------------------------------
PGHISTORY_MIDDLEWARE_METHODS = ("POST", "PUT", "PATCH", "DELETE")

# --- Logs ------------------------------------------------------------------------------------------------------------
_LOG_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _LOG_SHARED,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        },
        "text": {"format": "%(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": env.str("LOG_FORMAT", default="json"),
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "celery.app.trace": {"level": "WARNING"},
        "fontTools": {"level": "ERROR"},
        "weasyprint": {"level": "ERROR"},
    },
}

from billing_site.admin_theme import UNFOLD  # noqa: E402, F401  (a setting of its own length)
