"""Label Studio's video projects."""
