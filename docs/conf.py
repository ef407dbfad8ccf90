"""Settings of Sphinx: `python -m sphinx -W -n docs OUT` builds the documentation, which needs no network to be read."""

import sys
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "harness"
author = "the authors of harness"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
suppress_warnings = ["toc.not_readable", "toc.empty_glob"]  # pages that are being written

html_theme = "furo"
html_title = "harness"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # browsers draw it themselves: no MathJax, which a page would load from elsewhere

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"


def mathml(translator: HTML5Translator, node: nodes.math | nodes.math_block, block: bool) -> None:
    """Write a formula as MathML; a command of LaTeX that docutils does not know is a warning, so the build fails."""
    try:
        translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        logging.getLogger(__name__).warning("formula: %s: %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def unquote_pictures(app: Sphinx, page: nodes.document) -> None:
    """The name of a picture with a blank is written with %20 in Markdown; Sphinx looks for the file by its name."""
    for picture in page.findall(nodes.image):
        picture["uri"] = unquote(picture["uri"])


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", unquote_pictures, priority=100)  # before Sphinx collects the files
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda translator, node: mathml(translator, node, block=False), None),
        block_renderers=(lambda translator, node: mathml(translator, node, block=True), None),
    )
