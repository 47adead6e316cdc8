"""What may be tried: spaces, how their points are drawn, varied, checked and encoded; not what is worth trying."""
