"""Label videos in the browser: keyframes by hand, the rest by the machine."""
