"""`motrail tune`: settings that score best on your own labels."""

from __future__ import annotations

from cyclopts import App

from motrail.cli.tune.detector import detector_command
from motrail.cli.tune.tracker import tracker_command

tune_app = App(name="tune", help="Find the settings that score best on your own labels.")
tune_app.command(tracker_command, name="tracker")
tune_app.command(detector_command, name="detector")
