"""What people use today, trained by the driver of a search to be held against its winner; nothing here is searched."""
