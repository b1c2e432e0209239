"""The step `markup`: HTML and Markdown become text."""

from feilun.stages.prepare.markup.step import Markup

__all__ = ["Markup"]
