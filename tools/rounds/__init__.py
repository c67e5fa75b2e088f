"""Quota rounds: runs a command in rounds until every object has its number of samples, and merges what they made.

settings   what the user asked for, from flags and a YAML file
plan       names, seeds, folders and commands of rounds; pure
results    reads what a round left behind, checks it, gives every field its common name
selection  quality filter and near-duplicates
parts      the growing arrays of one object; writes final.npz
quota      one object's way to its target: which round runs next, what is merged next; pure
journal    rounds.jsonl (the truth), manifest.json (its readable snapshot), the lock of an experiment
runner     joins them over gml's job pool
report     progress, tables, status, dry run
cleanup    what is deleted when
cli        the command line
"""
