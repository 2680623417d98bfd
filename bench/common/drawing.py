"""The parts of a drawing (SVG) that all have in common. Pure; returns text.

Colours follow the reader's light or dark scheme; without one the drawing has a light ground.
"""

from xml.sax.saxutils import escape

STYLE = """
  .ground { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 } .axis { stroke: #818b98; stroke-width: 1 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .title { font-size: 19px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .ink { fill: #e6edf3 } .soft { fill: #9198a1 }
    .grid { stroke: #2a313c } .axis { stroke: #656c76 }
  }
"""


def head(width, height, title, more_style=""):
    """The opening of the drawing, with its ground; the caller closes it."""
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img">',
            f"<title>{escape(title)}</title>", f"<style>{STYLE}{more_style}</style>",
            f'<rect class="ground" width="{width}" height="{height}"/>']


def text(x, y, content, classes="ink", anchor="start", more=""):
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}" text-anchor="{anchor}"{more}>{escape(content)}</text>'


def line(x1, y1, x2, y2, classes):
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>'
