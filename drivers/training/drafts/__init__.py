"""First campaigns for data that are looked at: which source reads them, for which task. Writing the file is others'."""
