"""One file, one data set: how its tree on disk becomes clips, instances and supports."""
