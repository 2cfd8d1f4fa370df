"""The compute kernels: arrays in, arrays out.

Nothing here knows about images, files or estimators, and nothing here imports
from the rest of fastseg. ``backend.py`` is the contract, ``reference.py`` says in
plain NumPy what every kernel must compute, and one folder per backend computes it.
``simple.py`` is to begin another backend with, and ``conformance.py`` checks it.
"""
