"""The documentation says what is so: it builds, its links lead somewhere, what it tells people to type exists."""

from __future__ import annotations

import ast
import json
import re
import runpy
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import click
import pytest

import pairing
from config.settings import variables
from pairing.solution import permutation_hash
from tasks.commands.main import cli
from tasks.commands.options import EXIT_HELP
from tasks.contracts.run_request import Request
from tests.support.documents import PAGES, blocks, built, calls, links, words
from tests.support.fleet import DEMO
from tests.support.paths import ROOT

REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))
NAMES = [page.name for page in PAGES]
TYPED = [page for page in PAGES if page.name != "commands.md"]
"""Pages with calls of the command; those of commands.md are click's own."""
MISTYPED = {"PAIRING_STOP_FILE"}
"""Shown as what a person gets wrong."""
OPTIONS_OF_OTHERS = {"--constraint", "--logfile", "--seed"}
"""Of pip, of Celery's worker, and of ``make faults``."""


INTERNAL = {"of", "note", "end", "to_json", "from_json"}
"""Methods of public classes that are not for users."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("docs"))


# --- the site


class _Page(HTMLParser):
    """What a built page links to, and what can be linked to on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if name in ("href", "src") and value and tag != "base":
                self.targets.append(value)


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {path.resolve(): _Page(path) for path in site.glob("*.html")}
    assert len(pages) > len(PAGES)
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            address, anchor = urldefrag(target)
            if address.startswith("https://") or target.startswith("data:"):
                continue
            there = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
            known = there in pages and (anchor in pages[there].anchors or anchor == "")
            if not known and (there in pages or not there.is_file()):
                broken.append((path.name, target))
    assert broken == []


def test_every_page_is_built_and_says_nothing_but_text(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        text = (site / f"{page.stem}.html").read_text(encoding="utf-8")
        assert "system-message" not in text, page.name
        assert "<math" in text or "$$" not in page.read_text(encoding="utf-8"), page.name


def test_programs_and_commands_are_highlighted(site: Path) -> None:
    text = (site / "solving.html").read_text(encoding="utf-8")
    assert {"highlight-python", "highlight-bash"} <= set(re.findall(r"highlight-\w+", text))


def test_options_keep_their_dashes(site: Path) -> None:
    assert "The pool is --pool, else" in (site / "commands.html").read_text(encoding="utf-8")


def test_nothing_of_the_site_comes_from_elsewhere(site: Path) -> None:
    for path in site.glob("*.html"):
        fetched = re.findall(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"([^\"]+)\"", path.read_text())
        assert [address for address in fetched if re.match(r"(https?:)?//", address)] == [], path.name


def test_the_links_of_the_readme_lead_somewhere() -> None:
    found = [link for link in links(ROOT / "README.md") if not link.startswith("https://")]
    assert len(found) > 5
    for link in found:
        address, anchor = urldefrag(link)
        page = ROOT / address if address else ROOT / "README.md"
        assert page.exists(), link
        assert not anchor or anchor in _slugs(page), link


def _slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_api_page_has_every_public_name_and_what_it_is(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    anchors = _Page(site / "api.html").anchors
    for name in set(pairing.__all__) - {"__version__"}:
        assert f"pairing.{name}" in anchors, name
        if isinstance(public := getattr(pairing, name), type):
            members = {each for each in dir(public) if not each.startswith("_")} - INTERNAL
            assert all({f"pairing.{kind.__name__}.{each}" for kind in public.__mro__} & anchors for each in members), (
                name
            )
    assert "TypeAliasForwardRef" not in page
    assert not re.search(r"<dt[^>]*>Type<", page), "an attribute's docstring has a colon that ends its first words"


# --- what people type


def _commands(command: click.Command = cli, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _commands(below, *path, name)


COMMANDS = dict(_commands())


def _options(command: click.Command) -> set[str]:
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {"--help", *(name for option in options for name in (*option.opts, *option.secondary_opts))}


def _parse(arguments: list[str]) -> None:
    """Parses a call to its end, and runs nothing.

    Raises:
        click.UsageError: there is no such command or option, a value is wrong, or an argument is missing.
    """
    command: click.Command = cli
    context = cli.make_context("pairing", arguments, resilient_parsing=False)
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        name, found, arguments = command.resolve_command(context, list(rest))
        assert found is not None
        command = found
        context = command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_every_call_in_a_block_can_be_parsed(page: Path) -> None:
    for block in blocks(page):
        for call in calls(block):
            try:
                _parse(call)
            except click.exceptions.Exit:  # --help and --version
                continue
            except click.UsageError as error:
                pytest.fail(f"pairing {' '.join(call)}: {error.format_message()}")


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_every_command_and_option_in_the_text_exists(page: Path) -> None:
    known = set().union(*map(_options, COMMANDS.values()))
    for word in words(page):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", word if word.startswith("--") else ""):
            assert option in known | OPTIONS_OF_OTHERS, word
        for call in calls(word):
            named = [part.strip("[]…,") for part in call]
            path = tuple(part for part in named[:2] if part.replace("-", "").islower() and part[:1] != "-")
            while path and path not in COMMANDS:
                path = path[:-1]
            if named[:1] and re.fullmatch(r"[a-z-]+", named[0]) and named[0][0] != "-":
                assert path, word
            for option in (part for part in named if part.startswith("--")):
                assert option in _options(COMMANDS[path]), word


def test_a_call_that_is_wrong_would_be_noticed() -> None:
    for text in ("pairing solv x", "pairing solve", "sudo pairing solve x --annealer old", "a | pairing pool bst"):
        (call,) = calls(text)
        with pytest.raises(click.UsageError):
            _parse(call)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_can_be_parsed(page: Path) -> None:
    for block in blocks(page):
        if re.match(r"(from|import) \w", block):
            ast.parse(block)


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_the_demonstrations_answer_is_the_one_that_is_shown(name: str) -> None:
    answer = json.loads(DEMO.with_name("demo-puzzle.answer.json").read_text())["permutation"]
    shown = re.search(
        r"^ +Permutation: ([\d,]+)\n +Hash: (\w+) \(matches the target hash\)$", (ROOT / name).read_text(), re.MULTILINE
    )
    assert shown is not None
    assert [int(number) for number in shown[1].split(",")] == answer
    assert shown[2] == permutation_hash(answer)


# --- settings, and what is made of the code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {name for names in variables().values() for name in names}
    named = re.findall(r"\b(?:PAIRING|CHEROKEE_DB)_[A-Z][A-Z_]*\b", page.read_text(encoding="utf-8"))
    assert {name for name in named if not {name, name.removesuffix("_FILE")} & known} <= MISTYPED


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_pages_made_of_the_code_are_as_it_is_now(name: str) -> None:
    there = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert there == REFERENCE["PAGES"][name](), "python docs/reference.py writes it anew"


def test_every_setting_and_command_is_in_the_reference() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for names in variables().values():
        assert all(f"`{name}`" in settings for name in names)
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for path, command in COMMANDS.items():
        (section,) = re.findall(rf"^##+ {' '.join(('pairing', *path))}\n(.*?)(?=^##|\Z)", commands, re.M | re.S)
        assert all(name in section for name in _options(command) - {"--help"}), path


def test_every_argument_of_a_run_is_on_the_page() -> None:
    page = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8").split("### The arguments\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (`.*?`) \|", page, re.M)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(Request.model_fields.keys() - {"run"})  # which is the task's id


def test_what_is_solved_here_can_be_enqueued_with_the_same_options() -> None:
    of_this_machine = {"--pool", "--workers", "--inline", "--report", "--no-report"}
    solve, enqueue = ({o.opts[0]: o for o in COMMANDS[(name,)].params} for name in ("solve", "enqueue"))
    assert solve.keys() - of_this_machine == enqueue.keys() - {"--priority", "--wait"}
    for name in solve.keys() & enqueue.keys() - {"puzzle"}:
        assert (solve[name].default, type(solve[name].type)) == (enqueue[name].default, type(enqueue[name].type)), name


def test_every_exit_status_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (\d+) \|", page, re.M)) == set(re.findall(r"[;:] (\d+) ", EXIT_HELP))
