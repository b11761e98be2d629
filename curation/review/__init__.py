"""A person's part in the benchmark: decisions about candidate tubes, and the page on which they are taken (``icvos review``)."""
