"""Masks and what follows from them: allocation over layers, channels, parametrisations, tickets, the doctor."""
