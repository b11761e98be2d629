"""DC-SAM, the method of the paper that opened the field. The model arrives with its own release; nothing is here yet."""
