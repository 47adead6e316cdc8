"""Campaign files that ship with matloop: `matloop run quickstart`."""
