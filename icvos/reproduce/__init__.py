"""The tables and figures of the paper as recipes: what each row needs, what makes it, and how it stands beside what was printed."""
