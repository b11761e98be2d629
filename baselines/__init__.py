"""Methods to compare with: floors that look at nothing, the oracle that is told the truth, and published baselines."""
