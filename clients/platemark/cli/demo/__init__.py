"""The whole main job, run on this machine by separate processes."""

from platemark.cli.demo.command import app

__all__ = ["app"]
