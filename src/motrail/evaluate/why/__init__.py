"""Why a tracker went wrong, and what would help most."""
