"""A network as data: its modules, the statements of its forward pass, and what they cost; nothing is built here."""
