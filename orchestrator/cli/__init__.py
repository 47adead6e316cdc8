"""The command `matloop`: what it declares, does and prints; whatever Python can do as well is elsewhere."""
