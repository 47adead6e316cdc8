"""What a changed campaign file does to the results on record; says nothing about how it is edited or stored."""
