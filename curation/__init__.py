"""Building the benchmark: source adapters, labels, rules, tubes and the frozen release (``icvos build``)."""
