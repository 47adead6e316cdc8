"""Networks as genomes: how they are drawn, varied, checked, encoded, built and written out; not how they train."""
