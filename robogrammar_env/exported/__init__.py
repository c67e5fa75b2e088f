"""Files that an export copies: they run in the exported folder and know nothing of this project."""
