"""Quota rounds: runs a command in rounds until every object has its number of samples, and merges what they made.

settings   what the user asked for, from flags and a YAML file
plan       names, seeds, folders and commands of rounds; pure
quota      one object's way to its target: which round runs next, which is merged next; pure
results    reads what a round left behind, checks it, gives every field its common name
selection  quality filter and near-duplicates
layout     what a row of every field is, and which rows no round gave; pure
parts      the growing arrays of one object
final      writes final.npz from them
merging    joins the last five for one object
journal    rounds.jsonl (the truth), manifest.json (its readable snapshot), the lock of an experiment
manifest   what the snapshot says; pure
opening    opens an experiment: what may go on, what was lost, what must not be touched
runner     runs it over gml's job pool
cleanup    what is deleted when
report     progress, tables, status, dry run
cli        the command line
"""
