"""Configuration of the documentation site (`make docs`).

Sphinx's source folder is the project's root, so that a link from one text to another is the same on the site and where
the repository is shown. Pages are the texts below; `docs/_site` holds what Sphinx does not bring along.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "interop"), str(ROOT / "docs" / "_site")]

import bokbok  # noqa: E402

project = "bokbok"
author = "The bokbok developers"
copyright = author
version = release = bokbok.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    "chicken-reference/README.md",
    "examples/README.md",
    "interop/README.md",
    "interop/examples/minimal/README.md",
    "tests/stand-in-eggs/README.md",
    "tests/support/foreign/README.md",
]
# Folders that Sphinx need not walk through.
exclude_patterns = [".*", "**/.*", "build", "dist", "**/build", "**/node_modules", "native/target"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "bokbok_site.anchors",
    "bokbok_site.commands",
    "bokbok_site.docstrings",
    "bokbok_site.folders",
    "bokbok_site.generated",
    "bokbok_site.lexers",
    "bokbok_site.navigation",
    "bokbok_site.pictures",
    "bokbok_site.roles",
]

suppress_warnings = [
    "ref.python",  # `Connection` in a docstring: both front ends have one; the nearest is taken
]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
myst_links_external_new_tab = False

default_role = "name"  # of docstrings: `like_this`; see `bokbok_site.roles`
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

highlight_language = "none"
pygments_style = "default"  # each of its colours is readable on its ground (4.5 : 1)
pygments_dark_style = "monokai"

html_theme = "furo"
html_title = f"bokbok {version}"
smartquotes = False  # they would make one dash of the two in front of an option
html_extra_path = ["_site/front"]  # leads from the root to docs/index.html
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#8a3b12", "color-brand-content": "#8a3b12"},
    "dark_css_variables": {"color-brand-primary": "#f0a878", "color-brand-content": "#f0a878"},
}
