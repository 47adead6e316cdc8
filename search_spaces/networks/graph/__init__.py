"""Networks over crystals and other graphs: their genes, their plan and their layers."""
