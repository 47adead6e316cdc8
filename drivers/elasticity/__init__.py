"""Stiffness of periodic microstructures: phases, discretisation, solver, moduli, bounds and the driver; no strength."""
