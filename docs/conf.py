"""Settings of Sphinx: `python -m sphinx -W -n docs OUT` builds the documentation, which needs no network to be read."""

import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "harness"
author = "the authors of harness"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "harness"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_math_renderer = "mathml"  # browsers draw it themselves: no MathJax, which a page would load from elsewhere

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

default_role = "code"  # of `names` in docstrings
autodoc_typehints = "none"  # the docstrings say what arguments are
autodoc_member_order = "bysource"
add_module_names = False


VERDICTS = ("supported", "refuted", "conditional", "unresolved")


def setup(app: Sphinx) -> None:
    app.connect("source-read", list_studies)
    app.connect("doctree-read", colour_verdicts)
    app.connect("html-page-context", add_filter)
    app.connect("doctree-read", unquote_pictures, priority=100)  # before Sphinx collects the files
    app.connect("doctree-read", copy_from_outside, priority=100)
    app.connect("autodoc-process-docstring", format_docstring)
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))


def inline_formula(translator: HTML5Translator, node: nodes.math) -> None:
    write_mathml(translator, node, block=False)


def block_formula(translator: HTML5Translator, node: nodes.math_block) -> None:
    write_mathml(translator, node, block=True)


def write_mathml(translator: HTML5Translator, node: nodes.math | nodes.math_block, block: bool) -> None:
    """Write a formula as MathML; a command of LaTeX that docutils does not know is a warning, so the build fails."""
    try:
        translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=block))
    except MathError as error:
        logging.getLogger(__name__).warning("formula: %s: %s", error, node.astext(), location=node)
    raise nodes.SkipNode


def list_studies(app: Sphinx, name: str, source: list[str]) -> None:
    """The pages of studies belong below the page of findings, which GitHub shows without this list."""
    if name == "findings":
        studies = sorted(path.stem for path in Path(app.srcdir, name).glob("*.md"))
        entries = "\n".join(f"{study.replace('_', ' ')} <findings/{study}>" for study in studies)
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def colour_verdicts(app: Sphinx, page: nodes.document) -> None:
    """A verdict in bold gets its colour; in a table of answers, a question is as wide as its row."""
    if not app.env.docname.startswith("findings"):
        return
    for word in page.findall(nodes.strong):
        if (verdict := word.astext().lower().strip(".")) in VERDICTS:
            word["classes"] += ["verdict", verdict]
    for first, *others in [row.children for row in page.findall(nodes.row)]:
        if not any(entry.astext() for entry in others):
            first["morecols"] = len(others)
            first.parent["classes"].append("question")
            first.parent.children[1:] = []


def add_filter(app: Sphinx, name: str, template: str, context: dict[str, object], page: nodes.document | None) -> None:
    if name == "findings":
        app.add_js_file("findings.js")


def unquote_pictures(app: Sphinx, page: nodes.document) -> None:
    """The name of a picture with a blank is written with %20 in Markdown; Sphinx looks for the file by its name."""
    for picture in page.findall(nodes.image):
        picture["uri"] = unquote(picture["uri"])


def copy_from_outside(app: Sphinx, page: nodes.document) -> None:
    """A link to Markdown outside of docs/, which GitHub follows, leads to a copy of that file in the site."""
    for link in [*page.findall(addnodes.pending_xref)]:
        file = Path(f"{link['reftarget']}.md")
        if link.get("refdomain") == "doc" and file.is_absolute():
            place = os.path.relpath(file, Path(app.env.doc2path(link["refdoc"])).parent)
            link.replace_self(
                addnodes.download_reference("", "", *link.children, reftarget=place, refdoc=link["refdoc"])
            )


def format_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code`, doctests and lines `name: meaning`: make reStructuredText of them."""
    paragraphs = "\n".join(lines).strip("\n").split("\n\n")
    lines[:] = "\n\n".join(map(formatted, paragraphs)).splitlines()


def formatted(paragraph: str) -> str:
    """A doctest as it is; of other paragraphs the lines `name: meaning` as a list, what is indented goes on a line."""
    if paragraph.lstrip().startswith(">>>"):
        return paragraph
    found: list[str] = []
    for line in paragraph.splitlines():
        if entry := re.match(r"(\w+(?:, \w+)*): (.*)", line):
            found.append(f"\n* **{escaped(entry[1])}**: {escaped(entry[2])}")
        else:
            found.append(("  " if found and found[-1].startswith(("\n*", "  ")) else "") + escaped(line.strip()))
    return "\n".join(found)


def escaped(text: str) -> str:
    """Signs that mean something in reStructuredText, outside of `code`, with a backslash."""
    parts = text.split("`")
    return "`".join(re.sub(r"([\\*_|])", r"\\\1", part) if i % 2 == 0 else part for i, part in enumerate(parts))
