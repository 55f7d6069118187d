"""The whole life of a tracker on synthetic footage, by the commands that a user would type."""
