"""The demo: two turns of the wheel on real Chinese reviews, and a third that is refused."""

from feilun.apps.demo.story import tell

__all__ = ["tell"]
