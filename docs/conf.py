"""How Sphinx builds the documentation: `make docs`, and open docs/_build/index.html."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from docutils import nodes
from mathml import add_mathml
from sphinx.application import Sphinx

from pairing.version import __version__

project = "Pairing"
release = __version__
language = "en"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # it would make one dash of the two before an option

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: name for name in ("Array32", "Array64")}
python_maximum_signature_line_length = 80
# Types of other packages and of modules that the page does not show; pages of other projects are not fetched.
nitpick_ignore_regex = [
    ("py:.*", r"(?!pairing\.(solve|compare|load_puzzle|Puzzle|Solution|FoundSolution|History|Progress)$).*")
]

html_theme = "furo"
html_title = f"Pairing {release}"
html_static_path = ["_static"]
html_css_files = ["pairing.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"  # browsers draw it themselves: nothing is fetched, and no script is needed


PROGRAMS = "pairing|pip|python3?|make|docker|curl|openssl|redis-cli|sh|export|journalctl|launchctl"
LANGUAGES = {"python": r"(from|import) \w", "bash": rf"(sudo |\S*/bin/|run=\$\()*({PROGRAMS}) "}
"""What an indented block is written in, by how it begins."""


def set_languages(_app: Sphinx, doctree: nodes.document) -> None:
    """Programs and commands in indented blocks are highlighted, too."""
    for block in doctree.findall(nodes.literal_block):
        for language, begins in LANGUAGES.items():
            if block.get("language", "none") == "none" and re.match(begins, block.astext()):
                block["language"] = language


def set_dashes(_app: Sphinx, doctree: nodes.document) -> None:
    """Sphinx writes two hyphens between a parameter and what it is."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    add_mathml(app)
    app.connect("doctree-read", set_dashes)
    app.connect("doctree-read", set_languages)
