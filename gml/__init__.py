"""Hyper-parameter search over any command, every trial in a process of its own."""
