"""A release as a Codabench competition: the bundle, the rules it must keep, and the scoring program that goes into it."""
