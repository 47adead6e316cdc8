"""What browsers load besides the page: one style sheet, one script, one icon; nothing comes from elsewhere."""
