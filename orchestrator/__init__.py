"""The loop and everything around it: what is asked, recorded, decided and shown; not what is searched or measured."""
