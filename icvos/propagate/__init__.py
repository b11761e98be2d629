"""Following what was found on frame 0 through the rest of a clip."""
