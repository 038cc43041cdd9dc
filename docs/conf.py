"""How Sphinx builds the documentation: `make docs`, and open docs/_build/index.html."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mathml import add_mathml

from pairing.version import __version__

project = "Pairing"
release = __version__
language = "en"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # it would make one dash of the two before an option

html_theme = "furo"
html_title = f"Pairing {release}"
html_static_path = ["_static"]
html_css_files = ["pairing.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"  # browsers draw it themselves: nothing is fetched, and no script is needed

setup = add_mathml
