"""Architecture search by table look-up: the tables, a simulated machine to search them on, and peers as strategies."""
