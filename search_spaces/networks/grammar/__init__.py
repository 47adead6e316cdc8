"""Genomes: their words, and how they are drawn, varied, checked, repaired and encoded; not what they are built into."""
