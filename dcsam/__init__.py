"""DC-SAM, the method of the paper that opened the field: see README.md beside this file."""
