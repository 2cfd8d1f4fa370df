"""How Sphinx builds this documentation: `make docs`. Nothing is fetched from elsewhere."""

import inspect
import re

from docutils.utils import urischemes

import fastseg

# Addresses of Dask's schedulers are no pages.
urischemes.schemes.pop("tcp", None)

project = "fastseg"
copyright = "fastseg's authors"
version = release = fastseg.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_click",
]
exclude_patterns = ["examples/*"]

html_theme = "furo"
html_title = f"fastseg {release}"
html_show_sphinx = False
# So wide that a line of code of 100 letters fits.
html_theme_options = {
    "light_css_variables": {"code-font-size": "75%"},
    "dark_css_variables": {"code-font-size": "75%"},
}
html_static_path = ["static"]
html_css_files = ["width.css"]
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Names in backticks in docstrings become links where they are documented.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    # Steps of predict, and what every exception has.
    "exclude-members": "check_image, first_label, forward, space, add_note, with_traceback",
}
numpydoc_show_class_members = False


def skip_what_others_document(app, what, name, member, skip, options):
    """Leave out what a class has from scikit-learn's mixins."""
    function = inspect.unwrap(member) if callable(member) else member
    module = getattr(function, "__module__", None) or ""
    return True if module.startswith("sklearn") else skip


def list_references(app, what, name, member, options, lines):
    """Give each reference of a docstring a line of its own; they end with a year."""
    if "References" not in lines:
        return
    first = lines.index("References") + 2
    begins = True
    for i in range(first, len(lines)):
        if not lines[i]:
            break
        line = lines[i]
        # The dot of an initial is no list's.
        lines[i] = ("- " if begins else "  ") + re.sub(r"^([A-Z])\.", r"\1\.", line)
        begins = re.search(r"\d{4}\.$", line) is not None


def setup(app):
    """Connect what is above."""
    # Before numpydoc, which takes sections apart.
    app.connect("autodoc-process-docstring", list_references, priority=400)
    app.connect("autodoc-skip-member", skip_what_others_document)
