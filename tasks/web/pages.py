"""How our pages get into Flower's application: addresses, templates, and links to them in its navigation."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from flower import urls
from tornado.template import Loader, Template
from tornado.web import StaticFileHandler, url

from tasks.client.environment import checked_settings
from tasks.contracts.run_request import RUN_ID
from tasks.web import handlers
from tasks.web.site import Site

FIRST_LINK = '<ul class="app-nav navbar-nav">'
"""Where in Flower's navigation our links go."""
LINKS = """
{% for name, title in (("runs", "Runs"), ("pool", "Solution pool"), ("fleet", "Fleet")) %}
<li class="nav-item">
  <a class="nav-link{% if active_tab == name %} active{% end %}" href="{{ reverse_url("pairing-" + name) }}"
    {% if active_tab == name %}aria-current="page"{% end %}>{{ title }}</a>
</li>
{% end %}
"""


def add_pages() -> None:
    """Adds our pages to the Flower that this process is about to start.

    Raises:
        InputError: a setting is wrong.
    """
    here = Path(str(files("tasks.web")))
    urls.settings.update(template_loader=Templates(here / "templates"), pairing=Site(checked_settings()))
    run = rf"/runs/({RUN_ID})"
    urls.handlers[:0] = [
        url(r"/runs", handlers.Runs, name="pairing-runs"),
        url(run, handlers.Run, name="pairing-run"),
        url(rf"{run}/report", handlers.Report, name="pairing-report"),
        url(rf"{run}/compare", handlers.Compare, name="pairing-compare"),
        url(rf"{run}/(cancel|retry)", handlers.Steer, name="pairing-steer"),
        url(r"/pool", handlers.Pool, name="pairing-pool"),
        url(r"/pool/([0-9a-f]{64})", handlers.PuzzlePool, name="pairing-puzzle"),
        url(r"/fleet", handlers.Fleet, name="pairing-fleet"),
        url(r"/pairing/(.+)", StaticFileHandler, {"path": str(here / "static")}, name="pairing-static"),
    ]


class Templates(Loader):
    """Our templates, which stand in a folder ``pairing``; all others are Flower's."""

    def __init__(self, ours: Path) -> None:
        """``ours`` holds that folder."""
        super().__init__(str(urls.settings["template_path"]))
        self._ours = ours

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002 - Tornado's signature
        """Every template is named in full."""
        return name

    def _create_template(self, name: str) -> Template:
        folder = self._ours if name.startswith("pairing/") else Path(self.root)
        text = (folder / name).read_text(encoding="utf-8")
        if name == "navbar.html":
            text = text.replace(FIRST_LINK, FIRST_LINK + LINKS, 1)
        return Template(text, name=name, loader=self)
