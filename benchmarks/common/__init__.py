"""What the learning benchmarks share: bodies, options, trials, saved parts, references, tables and pictures."""
