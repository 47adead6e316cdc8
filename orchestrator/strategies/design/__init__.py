"""Search for the best structure: by gradients through the physics, by models of its image; not for recipes."""
