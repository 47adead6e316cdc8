"""Parts of spaces for what is wished of the next experiments, with the encoding of the whole; not spaces to declare."""
