"""Scripts that draw the pictures of the documents; nothing that is measured."""
