"""What a microstructure is like, in numbers, and others that are like it; not what it is worth."""

from matloop.surrogates.microstructure.reconstruction.reconstruct import Reconstruction, Settings, reconstruct

__all__ = ["Reconstruction", "Settings", "reconstruct"]
