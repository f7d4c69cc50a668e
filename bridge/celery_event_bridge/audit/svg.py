"""The few parts of SVG that our pictures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

OWN, OTHER, INK, FAINT = "#1f6feb", "#9aa4b1", "#1b1f24", "#d8dee4"


def line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Return a straight line; all numbers are pixels."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5"/>'


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    """Words at a place."""
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def svg(width: float, height: float, parts: Sequence[str]) -> str:
    """Return the whole picture, made of its elements."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    # A ground of its own: a page may be dark.
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"
