"""How Sphinx builds this documentation: `make docs`. Nothing is fetched from elsewhere."""

import inspect

import fastseg

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
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Names in backticks in docstrings become links where they are documented.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseEstimator",
    # Steps of predict, and what every exception has.
    "exclude-members": "check_image, first_label, forward, space, add_note, with_traceback",
}
numpydoc_show_class_members = False


def skip_what_others_document(app, what, name, member, skip, options):
    """Leave out what a class has from scikit-learn's mixins."""
    function = inspect.unwrap(member) if callable(member) else member
    module = getattr(function, "__module__", None) or ""
    return True if module.startswith("sklearn") else skip


def setup(app):
    """Connect what is above."""
    app.connect("autodoc-skip-member", skip_what_others_document)
