"""Figures: what is drawn, on which axes, in which style."""
