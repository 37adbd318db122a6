"""Modules that compute weights from something else, and what the plugins beside this need to choose among these.

Those that import torch are imported inside functions.
"""
