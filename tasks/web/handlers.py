"""Our pages: each looks things up in a thread, and is refused to whoever has no login of Flower's.

Nothing that a run, a worker or the pool says gets into a page but through a template, which escapes it; and no script
runs that is not a file of ours or of Flower's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from functools import partial
from inspect import isawaitable
from typing import Any

from flower.views import BaseHandler
from tornado import web
from tornado.ioloop import IOLoop

from pairing.errors import InputError, PairingError
from pairing.version import __version__
from tasks.client import runs_api
from tasks.contracts.run_request import RUN_ID
from tasks.runs.facts import RunFacts, differences
from tasks.runs.overview import puzzle_label
from tasks.web import fleet, pool, runs, text
from tasks.web.site import Site, explained

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data:; font-src data:; frame-ancestors 'self'"
)
"""A report stands alone; in a sandbox, which has no part in the login."""

LIVE_SECONDS = 1.0
"""How old the runs that somebody sees may be …"""
POOL_SECONDS = 15.0
"""… the pool, whose server rations connections …"""
FLEET_SECONDS = 10.0
"""… and what the workers were asked."""
REPORT_SECONDS = 600.0


class Page(BaseHandler):  # type: ignore[misc]
    """A page of ours."""

    tab = ""
    """Which link of the navigation is this page's."""

    @property
    def site(self) -> Site:
        """The fleet."""
        found: Site = self.application.settings["pairing"]
        return found

    @web.authenticated
    def prepare(self) -> None:
        """Lets nobody in without a login."""

    def set_default_headers(self) -> None:
        """Has the browser run nothing that is no file of this server, and keep nothing."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def check_xsrf_cookie(self) -> None:
        """Asks for the form's token always: Flower does without where a login comes with every request."""
        super().check_xsrf_cookie()
        web.RequestHandler.check_xsrf_cookie(self)

    async def show(self, template: str, status: int = 200, **looked_up: Any) -> None:
        """Renders values, and what is being looked up; or why it cannot be."""
        try:
            values = {name: await found if isawaitable(found) else found for name, found in looked_up.items()}
        except InputError as error:
            template, status, values = "trouble", 404, {"trouble": explained(error)}
        except PairingError as error:
            template, status, values = "trouble", 503, {"trouble": explained(error)}
        self.set_status(status)
        helpers = {"text": text, "puzzle_label": puzzle_label, "version": __version__, "active_tab": self.tab}
        may_steer = not self.application.options.read_only
        self.render(f"pairing/{template}.html", may_steer=may_steer, **helpers, **values)

    def argument(self, name: str) -> str:
        """An argument of the address, as it is; templates escape it."""
        return str(self.get_argument(name, "", escape=False))[:200]

    def facts(self, run: str) -> Awaitable[RunFacts]:
        """What is known of a run."""
        return self.site.look(f"run {run}", LIVE_SECONDS, lambda: runs.run_facts(self.site, run))

    def listed(self) -> Awaitable[runs.Listed]:
        """The runs of the store."""
        return self.site.look("runs", LIVE_SECONDS, lambda: runs.listed(self.site))


class Runs(Page):
    """All runs of the store."""

    tab = "runs"

    async def get(self) -> None:
        """Shows them."""
        search, before = self.argument("q"), _time(self.argument("before"))
        look = partial(runs.earlier, self.site, search, before)
        earlier = self.site.look(f"earlier {before} {search}", POOL_SECONDS, look)
        await self.show("runs", found=self.listed(), earlier=earlier, search=search, before=before)


class Run(Page):
    """One run."""

    tab = "runs"

    async def get(self, run: str) -> None:
        """Shows how far it is, or what came out."""
        await self.show("run", found=self.facts(run), others=self.listed())


class Report(Page):
    """A run's report: a page that stands alone, and that is not trusted with anything."""

    tab = "runs"

    async def get(self, run: str) -> None:
        """Shows it."""
        try:
            facts = await self.facts(run)
            draw = partial(runs.report_page, self.site, run)
            page = await self.site.look(f"report {run} {facts.ended_at}", REPORT_SECONDS, draw)
        except PairingError as error:
            await self.show("trouble", 404, trouble=explained(error))
            return
        self.set_header("Content-Security-Policy", REPORT_POLICY)
        self.finish(page)


class Compare(Page):
    """Where two runs differ."""

    tab = "runs"

    async def get(self, run: str) -> None:
        """Shows it."""
        other = self.argument("with")
        if not re.fullmatch(RUN_ID, other):
            await self.show("trouble", 404, trouble="Name the run to compare with.")
            return
        await self.show("compare", found=self.facts(run), other=self.facts(other), differences=differences)


class Steer(Page):
    """Cancels a run or tries it again: the page that asks first, and the one that does it."""

    tab = "runs"

    def prepare(self) -> None:
        """Lets nobody in where Flower only shows."""
        super().prepare()
        if self.application.options.read_only:
            raise web.HTTPError(403, "This Flower is read-only")

    async def get(self, run: str, what: str) -> None:
        """Asks."""
        await self.show("confirm", found=self.facts(run), what=what)

    async def post(self, run: str, what: str) -> None:
        """Does it."""
        act = partial(runs_api.cancel, run) if what == "cancel" else partial(runs_api.retry, run, [], {})
        try:
            await IOLoop.current().run_in_executor(None, act)
        except PairingError as error:
            await self.show("trouble", 409, trouble=explained(error))
            return
        self.site.forget()
        self.redirect(self.reverse_url("pairing-run", run), status=303)


class Pool(Page):
    """The solution pool by puzzle."""

    tab = "pool"

    async def get(self) -> None:
        """Shows it."""
        address = self.site.address
        found = self.site.look("pool", POOL_SECONDS, lambda: pool.pool_found(address))
        await self.show("pool", found=found, data_dir=address.data_dir)


class PuzzlePool(Page):
    """One puzzle's solutions."""

    tab = "pool"

    async def get(self, digits: str) -> None:
        """Shows them."""
        puzzle = f"sha256:{digits}"
        found = self.site.look(f"pool {puzzle}", POOL_SECONDS, lambda: pool.history(self.site.address, puzzle))
        await self.show("puzzle", found=found, width=pool.WIDTH, height=pool.HEIGHT)


class Fleet(Page):
    """The fleet as it is."""

    tab = "fleet"

    async def get(self) -> None:
        """Shows it."""
        await self.show("fleet", found=self.site.look("fleet", FLEET_SECONDS, lambda: fleet.fleet_found(self.site)))


def _time(text: str) -> float | None:
    """A Unix time; ``None`` where the text is none."""
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text) else None
