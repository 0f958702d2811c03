"""Where traces come from: one file a format, one the generator."""
