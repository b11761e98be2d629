"""The statistics of a release for people and programs: text, JSON, CSV, charts, pictures and one page."""
