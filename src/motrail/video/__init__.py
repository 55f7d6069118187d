"""Pictures in and out: videos, image folders and drawn videos.

Import from the modules, so that only what is used is loaded: `motrail.video.read` (`open_source`,
`Source`, `decode_image`), `motrail.video.write` (`VideoWriter`), `motrail.video.draw`
(`TrackDrawer`).
"""
