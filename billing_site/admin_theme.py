"""How the admin looks: names, colours, and the callbacks that fill the sidebar and the first page."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static


def environment(request: object) -> list[str] | None:
    """The label beside the user's name, such as “Demo”; none on an installation that sets none."""
    # Settings are read when a page is drawn: this module is part of them.
    from django.conf import settings

    return [settings.ENVIRONMENT_LABEL, "info"] if settings.ENVIRONMENT_LABEL else None


def _asset(name: str) -> Any:
    return lambda request: static(f"countinghouse/{name}")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Countinghouse",
    "SITE_HEADER": "Countinghouse",
    "SITE_SUBHEADER": "Billing",
    "SITE_URL": None,
    "SITE_ICON": _asset("favicon.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _asset("favicon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "6px",
    "ENVIRONMENT": "billing_site.admin_theme.environment",
    "DASHBOARD_CALLBACK": "billing_site.dashboard.dashboard",
    "STYLES": [_asset("admin.css")],
    "SCRIPTS": [_asset("admin.js")],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "billing_site.navigation.sidebar",
    },
    "COMMAND": {"search_models": False, "show_history": False},
    "COLORS": {
        # A neutral grey with a trace of blue, and one ink blue: colour is left to status and to warnings.
        "base": {
            "50": "oklch(98.5% .002 250)",
            "100": "oklch(96.7% .004 250)",
            "200": "oklch(92.6% .006 250)",
            "300": "oklch(86.8% .009 250)",
            "400": "oklch(70.5% .017 252)",
            "500": "oklch(54.5% .021 254)",
            "600": "oklch(43.8% .023 255)",
            "700": "oklch(36.5% .024 256)",
            "800": "oklch(27% .022 257)",
            "900": "oklch(20.5% .02 258)",
            "950": "oklch(13.5% .017 260)",
        },
        "primary": {
            "50": "oklch(97.4% .011 248)",
            "100": "oklch(94.2% .022 248)",
            "200": "oklch(88.8% .042 248)",
            "300": "oklch(80.8% .071 248)",
            "400": "oklch(71.6% .098 248)",
            "500": "oklch(63% .112 249)",
            "600": "oklch(49.5% .104 250)",
            "700": "oklch(42.5% .09 251)",
            "800": "oklch(36.5% .073 252)",
            "900": "oklch(31% .056 254)",
            "950": "oklch(23% .042 256)",
        },
        "font": {
            "subtle-light": "var(--color-base-500)",
            "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-600)",
            "default-dark": "var(--color-base-300)",
            "important-light": "var(--color-base-900)",
            "important-dark": "var(--color-base-100)",
        },
    },
}
