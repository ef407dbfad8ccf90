"""One self-contained HTML file: the answer in words, and every figure below it.

Nothing is loaded from elsewhere - pictures are inside the file, there is no script - so it can be mailed, archived, and
shown by MLflow's artifact viewer.
"""

import base64
from collections.abc import Mapping
from html import escape

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h3 {{ margin-top: 2rem; }}
code {{ background: #f3f3f3; padding: .1em .3em; overflow-wrap: anywhere; }}
div.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: left; vertical-align: top; }}
figure {{ margin: 2rem 0; }} img {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
{figures}
</body>
</html>
"""


def html(title: str, markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The page; pictures are PNG files by name, shown in their order."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    figures = "\n".join(_figure(name, png) for name, png in pictures.items())
    return PAGE.format(title=escape(title), body=body, figures=figures)


def _figure(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}"></figure>'
